"""An abstract word never leaves out a word that there is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.ir.nodes import BINARY, UNARY, WORD_MASK, evaluate_binary, evaluate_unary
from mkold.lkmm.sat import abstract
from mkold.lkmm.sat.abstract import FEW, NOTHING, Abstract, Partly

small = st.sampled_from([0, 1, 2, 3, 8, 63, 64, 255, 4096, 1 << 63, WORD_MASK])
words = small | st.integers(0, WORD_MASK)
unary_ops = st.sampled_from(sorted(UNARY))
binary_ops = st.sampled_from(sorted(BINARY))
common = settings(max_examples=400, deadline=None, derandomize=True)


@st.composite
def abstracts(draw: st.DrawFn) -> tuple[Abstract, list[int]]:
    """An abstract word, and some of the words that it may be."""
    if draw(st.booleans()):
        some = draw(st.lists(words, min_size=1, max_size=4, unique=True))
        return dict.fromkeys(some, NOTHING), some
    known, ones = draw(words) | draw(words), draw(words)
    partly = Partly(known & ~ones, known & ones)
    some = [(free & ~known) | partly.ones for free in draw(st.lists(words, min_size=1))]
    return abstract.settled(partly), some


@common
@given(unary_ops, abstracts())
def test_unary(op: str, a: tuple[Abstract, list[int]]) -> None:
    result = abstract.unary(op, a[0])
    assert all(abstract.may_be(result, evaluate_unary(op, word)) for word in a[1])


@common
@given(binary_ops, abstracts(), abstracts())
def test_binary(op: str, a: tuple[Abstract, list[int]], b: tuple[Abstract, list[int]]) -> None:
    result = abstract.binary(op, a[0], b[0])
    for x in a[1]:
        for y in b[1]:
            assert abstract.may_be(result, evaluate_binary(op, x, y))


@pytest.mark.slow
@common
@given(abstracts(), abstracts())
def test_join_and_widening(
    a: tuple[Abstract, list[int]], b: tuple[Abstract, list[int]]
) -> None:
    joined = abstract.join(a[0], b[0])
    wide = abstract.widened(a[0], joined, pasts_only=False)
    for word in a[1] + b[1]:
        assert abstract.may_be(joined, word)
        assert abstract.may_be(wide, word)


def test_many_words_become_bits() -> None:
    many = dict.fromkeys(range(0, 4 * FEW + 4, 4), NOTHING)
    assert abstract.settled(many) == Partly(WORD_MASK & ~0xFC, 0)
    assert abstract.only(abstract.settled(Partly(WORD_MASK & ~5, 5))) == 5


@pytest.mark.parametrize(("pasts", "kept"), [((1, 3, 2), (1, 2)), ((3, 5, 0), (0,))])
def test_the_smallest_pasts_are_kept(pasts: tuple[int, ...], kept: tuple[int, ...]) -> None:
    assert abstract.smallest(pasts) == kept


def test_no_site_is_passed_twice() -> None:
    word: Abstract = {7: (0b01, 0b10)}
    assert abstract.through(0b01, word) == {7: (0b11,)}
    assert abstract.through(0b01, abstract.through(0b01, {7: NOTHING})) == {}
