"""Many cases side by side: none of them ends the run, and what they rest on is told."""

from __future__ import annotations

import linecache
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from mkold.check import Case, Claim, End, Scenario, Setup, decide
from mkold.check.many import Limits, decide_claims
from mkold.check.result import CaseResult
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, cmpxchg, kernel, u64


@kernel
def put(word: Ptr[u64]) -> None:
    WRITE_ONCE(word.value, 1)


@kernel
def get(word: Ptr[u64]) -> u64:
    return READ_ONCE(word.value)


@kernel
def grow(word: Ptr[u64]) -> None:
    """A loop that no bound ends: it writes in every round, and so does another."""
    while True:
        now = READ_ONCE(word.value)
        if now == 1000:
            break
        WRITE_ONCE(word.value, now + 1)


@kernel
def count(word: Ptr[u64]) -> None:
    while True:
        old = READ_ONCE(word.value)
        if cmpxchg(word.value, old, old + 1) == old:
            break


def fine(m: Setup, test: Callable[[End], bool] = lambda end: False) -> None:
    word = m.words(1, "word")
    m.thread("writer", (put, word))
    m.thread("reader", (get, word))
    m.never("seen", test, "The reader sees the write.")


def seen(m: Setup) -> None:
    fine(m, lambda end: end.result("reader") == 1)


def raises(m: Setup) -> None:
    raise ValueError("no such page")


def endless(m: Setup) -> None:
    while True:
        pass


def endless_test(m: Setup) -> None:
    def test(end: End) -> bool:
        while True:
            pass

    fine(m, test)


def hoards(m: Setup) -> None:
    kept = []
    while True:
        kept.append(bytearray(1 << 26))


def dies(m: Setup) -> None:
    os._exit(7)


def interrupts(m: Setup) -> None:
    raise KeyboardInterrupt


def deep(m: Setup) -> None:
    deep(m)


def growing(m: Setup) -> None:
    word = m.words(1, "word")
    m.thread("a", (grow, word))
    m.thread("b", (grow, word))


def counting(m: Setup) -> None:
    word = m.words(1, "word")
    m.watch("word", word)
    for name in "ab":
        m.thread(name, (count, word))
    m.never("lost", lambda end: end["word"] != 2, "An increment is lost.")


def claim(*setups: Callable[[Setup], None]) -> Claim:
    cases = tuple(Case(setup.__name__, Scenario(setup.__name__, setup)) for setup in setups)
    return Claim(setups[0].__name__, "It is so.", "a test", cases)


def one(setup: Callable[[Setup], None], limits: Limits) -> CaseResult:
    ((result,),) = (found.cases for found in decide_claims([claim(setup)], limits))
    return result


QUICK = Limits(jobs=2, timeout_s=0.2)


def test_a_case_that_fails_takes_only_itself() -> None:
    results = list(
        decide_claims([claim(raises, fine), claim(dies), claim(seen)], Limits(jobs=2))
    )
    statuses = [[case.status for case in result.cases] for result in results]
    assert statuses == [["error", "holds"], ["undecided"], ["counterexample"]]
    assert [result.verdict for result in results] == ["undecided", "undecided", "refuted"]


@pytest.mark.parametrize(
    ("setup", "reason"),
    [
        (endless, "no answer within 0.2 s"),
        (endless_test, "no answer within 0.2 s"),
        (hoards, "out of memory"),
        (dies, "the process that decided it died"),
    ],
)
def test_limits_hold_for_anybody_s_code(setup: Callable[[Setup], None], reason: str) -> None:
    began = time.monotonic()
    limits = QUICK if "answer" in reason else replace(QUICK, timeout_s=20, memory_bytes=2 << 30)
    result = one(setup, limits)
    assert (result.status, result.reason) == ("undecided", reason)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("setup", "reason"), [(raises, "ValueError: no such page"), (deep, "too deep")]
)
def test_bad_input_is_said_with_its_place(setup: Callable[[Setup], None], reason: str) -> None:
    result = one(setup, QUICK)
    assert result.status == "error"
    assert result.fault is not None
    assert reason in result.reason
    assert "test_check_many.py:" in result.reason
    assert "^" in result.fault.text
    assert not result.fault.traceback


def test_a_set_up_that_plays_the_keyboard_is_bad_input() -> None:
    result = one(interrupts, QUICK)
    assert (result.status, result.reason) == (
        "error",
        "its set-up or a test raises KeyboardInterrupt",
    )


def test_an_internal_error_brings_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **named: object) -> object:
        raise AssertionError("a bug")

    monkeypatch.setattr(decide.lkmm, "decide", broken)
    result = one(fine, Limits())
    assert result.reason == "internal error: AssertionError: a bug"
    assert result.fault is not None
    assert "in broken" in result.fault.traceback


def slow(m: Setup) -> None:
    time.sleep(0.5)
    fine(m)


def test_results_come_in_order_whoever_is_first() -> None:
    claims = [claim(slow), claim(fine, seen), claim(raises)]
    found = [result.claim.name for result in decide_claims(claims, Limits(jobs=2))]
    assert found == ["slow", "fine", "raises"]


def test_what_is_done_is_told() -> None:
    told: list[str] = []
    list(decide_claims([claim(fine, seen)], Limits(), told.append))
    assert told[0] == "0 of 2 cases, now fine: fine"
    assert told[-1].startswith("1 of 2")


# -- what a verdict rests on ----------------------------------------------------------------


def test_a_bound_that_was_hit_is_named_with_its_loop() -> None:
    result = one(growing, Limits(engine="sat"))
    assert result.status == "undecided"
    assert result.reason.startswith("no counterexample in up to 4 rounds of the loop of grow")
    loop = linecache.getline(__file__, int(re.findall(r"many.py:(\d+)", result.reason)[0]))
    assert loop.strip() == "while True:"
    assert "--bound 8" in result.reason
    assert result.grounds.bound == 4


def test_another_bound() -> None:
    result = one(growing, Limits(engine="sat", bound=6))
    assert "up to 6 rounds" in result.reason


def test_a_loop_that_waits_needs_no_bound() -> None:
    result = one(counting, Limits(engine="sat"))
    assert result.status == "holds"
    assert result.grounds.engine == "sat"
    assert result.grounds.loops
    assert result.grounds.bound == 0


def test_no_loops() -> None:
    assert not one(fine, Limits()).grounds.loops


def test_an_interrupt_keeps_the_cases_that_were_decided() -> None:
    def progress(text: str) -> None:
        if text.startswith("3 of"):
            raise KeyboardInterrupt

    taken = []
    found = decide_claims([claim(seen), claim(fine, seen, fine)], Limits(jobs=1), progress)
    with pytest.raises(KeyboardInterrupt):
        taken.extend(found)  # what extend took before it was interrupted is there
    statuses = [[case.status for case in result.cases] for result in taken]
    assert statuses == [["counterexample"], ["holds", "counterexample", "undecided"]]
    assert taken[1].cases[2].reason == "interrupted before it was decided"
