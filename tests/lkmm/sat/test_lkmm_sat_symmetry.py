"""Threads that can be exchanged: which they are; putting them in order loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_text import program as kernel
from random_programs import FENCES, MARKED, PLAIN, common
from small import program

from mkold.ir.program import Program
from mkold.lkmm import decide
from mkold.lkmm.ask import Ask
from mkold.lkmm.sat import breaking, engine
from mkold.lkmm.sat.questions import Questions

TEXT = """
from mkold.lang import (
    READ_ONCE, WRITE_ONCE, Ptr, cast, cmpxchg, kernel, smp_store_release, u64, xchg
)

@kernel
def push(head: Ptr[u64], item: Ptr[u64]) -> u64:
    first = READ_ONCE(head.value)
    while True:
        WRITE_ONCE(item.value, first)
        seen = cmpxchg(head.value, first, cast(u64, item))
        if seen == first:
            return first
        first = seen

@kernel
def swap(word: Ptr[u64], mine: u64) -> None:
    old = xchg(word.value, mine)

@kernel
def count(word: Ptr[u64]) -> u64:
    old = READ_ONCE(word.value)
    while True:
        seen = cmpxchg(word.value, old, old + 1)
        if seen == old:
            return old
        old = seen

@kernel
def favour(word: Ptr[u64], mine: u64) -> None:
    if xchg(word.value, mine) == 2:
        WRITE_ONCE(word.value, 9)
"""


def asked(made: Program) -> Questions:
    questions, _ = engine.prepare(made, Ask(max_unroll=8), lambda: None)
    return questions


@pytest.mark.parametrize(
    ("calls", "n"),
    [
        (("push(h, a)", "push(h, b)", "push(h, c)"), 2),
        (("swap(w, 1)", "swap(w, 2)"), 1),
        (("swap(w, 0)", "swap(w, 2)"), 0),  # 0 is there from the start
        (("favour(w, 1)", "favour(w, 2)"), 0),
        (("favour(w, 1)", "favour(w, 3)"), 1),
        (("swap(w, 1)", "favour(w, 2)"), 0),
        (("swap(w, 1)", "swap(w, 2)", "favour(w, 3)"), 0),  # it can tell 1 from 2
        (("swap(w, 1)", "swap(w, 3)", "favour(w, 4)"), 1),
        (("swap(w, 1)", "swap(v, 2)"), 0),  # no word that both write
    ],
)
def test_what_can_be_exchanged(calls: tuple[str, ...], n: int) -> None:
    assert len(asked(kernel(TEXT, *calls)).breaking.exchanges) == n


def test_states_stand_for_their_renamings() -> None:
    made = kernel(
        TEXT, "swap(w, 1)", "swap(w, 3)", "swap(w, 5)", observed="w 0:old 1:old 2:old"
    )
    questions = asked(made)
    assert questions.breaking.exchanges
    states = set(questions.states())
    assert len(states) == 6
    assert {state[0] for state in states} == {1, 3, 5}


def test_numbers_that_are_worked_out_stay_what_they_are() -> None:
    made = kernel(TEXT, *["count(w)"] * 4, observed="w 0:old 1:old 2:old 3:old")
    questions = asked(made)
    before = questions.search.n_judged
    states = set(questions.states())
    assert len(states) == 24
    assert {state[0] for state in states} == {4}
    assert questions.search.n_judged - before < 24  # most of them by renaming


def nothing(*_: object) -> Iterator[object]:
    return iter(())


@common
@given(
    st.lists(st.sampled_from(MARKED + PLAIN + FENCES), min_size=1, max_size=3),
    st.lists(st.sampled_from(MARKED + PLAIN + FENCES), max_size=2),
)
def test_order_loses_nothing(body: list[str], other: list[str]) -> None:
    bodies = ["; ".join(body)] * 3 + (["; ".join(other)] if other else [])
    made = program(*bodies, observed="0:r1 1:r1 2:r1 0:r2 1:r2 2:r2 x y")
    made = _one_function(made)
    with_order = decide(made, engine="sat")
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(breaking, "exchanges", nothing)
        without = decide(made, engine="sat")
    assert set(with_order.states) == set(without.states)
    assert with_order.flags == without.flags


def _one_function(made: Program) -> Program:
    """The first three threads run one function."""
    threads = tuple(
        replace(thread, function="P0") if i < 3 else thread
        for i, thread in enumerate(made.threads)
    )
    return replace(made, threads=threads)


def test_the_random_programs_do_have_exchanges() -> None:
    made = _one_function(program(*["r1 = xchg(x, 1)"] * 3, observed="x"))
    assert len(asked(made).breaking.exchanges) == 2
