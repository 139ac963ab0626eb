"""Values and guards: folding changes no word, and one meaning is one node."""

from __future__ import annotations

import gc
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkold.ir.nodes import evaluate_binary, evaluate_unary
from mkold.lkmm.graph import guards, values
from mkold.lkmm.graph.guards import (
    Decided,
    Guard,
    both,
    cases,
    conjuncts,
    contradicts,
    either,
    implies,
    negate,
    taken,
)
from mkold.lkmm.graph.values import (
    Constraint,
    Value,
    binary,
    evaluate,
    fold,
    found,
    phi,
    reads_of,
    resolve,
    select,
    unary,
)

BINARY = ["add", "sub", "mul", "and", "or", "xor", "shl", "lshr", "eq", "ne", "ult", "slt"]
WORDS = [0, 1, 2, 63, (1 << 63), (1 << 64) - 1]
N_READS, N_DECISIONS = 3, 3

guards_ = st.recursive(
    st.sampled_from([0, 1]) | st.integers(0, N_DECISIONS - 1).map(taken),
    lambda inner: (
        inner.map(negate)
        | st.builds(both, inner, inner)
        | st.builds(either, inner, inner)
    ),
    max_leaves=8,
)  # fmt: skip
leaves = st.sampled_from(WORDS) | st.integers(0, N_READS - 1)
# What a value is made from, as plain tuples: ("read", n) or an operator and its parts.
recipes = st.recursive(
    st.sampled_from(WORDS) | st.tuples(st.just("read"), st.integers(0, N_READS - 1)),
    lambda inner: (
        st.tuples(st.just("unary"), st.sampled_from(["neg", "not", "lnot"]), inner)
        | st.tuples(st.just("binary"), st.sampled_from(BINARY), inner, inner)
        | st.tuples(st.just("select"), inner, inner, inner)
        | st.tuples(st.just("phi"), guards_, inner, inner)
    ),
    max_leaves=10,
)
chosen_words = st.lists(st.sampled_from(WORDS), min_size=N_READS, max_size=N_READS)
ways = st.lists(st.booleans(), min_size=N_DECISIONS, max_size=N_DECISIONS)


def made(recipe: Any) -> Value:
    match recipe:
        case int(word):
            return word
        case ("read", int(read)):
            return found(read)
        case ("unary", str(op), a):
            return unary(op, made(a))
        case ("binary", str(op), a, b):
            return binary(op, made(a), made(b))
        case ("select", c, a, b):
            return select(made(c), made(a), made(b))
        case ("phi", guard, a, b):
            return phi(guard, made(a), made(b))
    raise AssertionError(recipe)


def meant(recipe: Any, words: list[int], decided: Decided) -> int:
    """The same without any node."""
    match recipe:
        case int(word):
            return word
        case ("read", int(read)):
            return words[read]
        case ("unary", str(op), a):
            return evaluate_unary(op, meant(a, words, decided))
        case ("binary", str(op), a, b):
            return evaluate_binary(op, meant(a, words, decided), meant(b, words, decided))
        case ("select", c, a, b):
            return meant(a if meant(c, words, decided) else b, words, decided)
        case ("phi", guard, a, b):
            return meant(a if decided.holds(guard) else b, words, decided)
    raise AssertionError(recipe)


class Certain:
    """The algebra of words themselves: each part worked out, needed or not."""

    def __init__(self, words: list[int], decided: Decided) -> None:
        self.words, self.decided = words, decided

    def word(self, word: int) -> int:
        return word

    def found(self, read: int) -> int:
        return self.words[read]

    def applied(self, op: str, a: int) -> int:
        return evaluate_unary(op, a)

    def combined(self, op: str, a: int, b: int) -> int:
        return evaluate_binary(op, a, b)

    def chosen(self, cond: int, a: int, b: int) -> int:
        return a if cond else b

    def met(self, guard: Guard, a: int, b: int) -> int:
        return a if self.decided.holds(guard) else b


@given(recipes, chosen_words, ways)
def test_folding_changes_no_word(recipe: object, words: list[int], sides: list[bool]) -> None:
    decided = Decided(enumerate(sides))
    value, wanted = made(recipe), meant(recipe, words, decided)
    assert evaluate(resolve(value, decided), words.__getitem__) == wanted
    assert fold(value, Certain(words, decided), {}) == wanted


@given(recipes)
def test_one_meaning_is_one_node(recipe: object) -> None:
    value = made(recipe)
    assert made(recipe) == value  # for nodes: identical
    assert all(0 <= read < N_READS for read in reads_of(value))


@given(recipes, chosen_words)
def test_only_the_reads_named_count(recipe: object, words: list[int]) -> None:
    value = resolve(made(recipe), Decided())
    other = [word if read in reads_of(value) else 77 for read, word in enumerate(words)]
    assert evaluate(value, words.__getitem__) == evaluate(value, other.__getitem__)


def every_way() -> list[Decided]:
    return [Decided(enumerate(sides)) for sides in product([False, True], repeat=N_DECISIONS)]


@given(guards_, guards_)
def test_guards_mean_what_they_say(g: Guard, h: Guard) -> None:
    for way in every_way():
        assert way.holds(negate(g)) is not way.holds(g)
        assert way.holds(both(g, h)) is (way.holds(g) and way.holds(h))
        assert way.holds(either(g, h)) is (way.holds(g) or way.holds(h))
        assert way.holds(g) is all(map(way.holds, conjuncts(g)))
        assert way.holds(g) is any(map(way.holds, cases(g)))
        if implies(g, h) and way.holds(g):
            assert way.holds(h)
        if contradicts(g):
            assert not way.holds(g)


def test_a_constraint_without_a_word_is_anything_but_zero() -> None:
    assert Constraint(found(0), None).met_by(5)
    assert not Constraint(found(0), None).met_by(0)
    assert Constraint(found(0), 0).met_by(0)
    assert not Constraint(found(0), 5).met_by(4)


@pytest.mark.slow
def test_nodes_that_nobody_holds_are_gone() -> None:
    tables = (values._FOUND, values._COMBINED, values._MET, guards._BOTH, guards._TAKEN)
    gc.collect()
    before = [len(table) for table in tables]
    value = phi(both(taken(901), taken(902)), binary("add", found(903), 5), 7)
    assert [len(table) for table in tables] != before
    del value
    gc.collect()
    assert [len(table) for table in tables] == before
