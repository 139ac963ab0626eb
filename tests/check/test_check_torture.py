"""Natively, no outcome is seen that the model rules out; and the comparison can fail."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import pytest

from mkold.base.errors import Exit
from mkold.check import Case, Claim, Drop, Scenario, Setup, load
from mkold.check.many import Limits
from mkold.check.torture import run
from mkold.check.torture.native import Outcomes, Seen, Stop
from mkold.check.torture.run import Allowed, TortureResult, compare, torture
from mkold.cli.main import main
from mkold.ir.boot import MEMBLOCK
from mkold.lang import (
    BUG_ON,
    READ_ONCE,
    WARN_ON_ONCE,
    WRITE_ONCE,
    Ptr,
    cpu_relax,
    kernel,
    poison,
    spin_lock,
    u64,
)
from mkold.view.torture import torture_json, torture_text

ROUNDS = 300
LIMITS = Limits(jobs=2, timeout_s=30)
CLAIMS = ("5", "1", "2", "14", "19", "11", "16", "17", "18", "20")


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_shipped_claims(name: str) -> None:
    ran = 0
    for result in torture(load.select(load.shipped(), [name]), ROUNDS, LIMITS):
        assert result.ruled_out == (), result
        assert result.n_seen <= result.n_allowed
        ran += result.rounds
    assert ran >= ROUNDS


@kernel
def write(p: Ptr[u64], value: u64) -> None:
    WRITE_ONCE(p.value, value)


@kernel
def wait(p: Ptr[u64]) -> None:
    while not READ_ONCE(p.value):
        cpu_relax()


@kernel
def wait_without_a_rest(p: Ptr[u64]) -> None:
    while not READ_ONCE(p.value):
        pass


@kernel
def take(p: Ptr[u64]) -> None:
    spin_lock(p.value)


@kernel
def bug(p: Ptr[u64]) -> None:
    BUG_ON(1)


@kernel
def warn(p: Ptr[u64]) -> None:
    WARN_ON_ONCE(1)


@kernel
def free_and_look(p: Ptr[u64]) -> u64:
    poison(p.value, 1)
    return READ_ONCE(p.value)


def two_writers(m: Setup) -> None:
    x = m.words(1, "x")
    m.watch("x", x)
    m.thread("a", (write, x, 1))
    m.thread("b", (write, x, 2))


def alone(function: object) -> Case:
    def setup(m: Setup) -> None:
        m.thread("t", (function, m.words(1, "x")))  # type: ignore[arg-type]

    return Case("as written", Scenario("alone", setup))


def one(case: Case, rounds: int = 10) -> TortureResult:
    claim = Claim("c", "It is so.", "a test", (replace(case, decides=True),))
    (result,) = torture([claim], rounds, LIMITS)
    return result


TWO = Case("two writers", Scenario("two-writers", two_writers))
MODEL = Allowed(frozenset({(1,), (2,)}), names=("x",), engine="masks")


# -- the comparison -------------------------------------------------------------------------


def test_an_outcome_that_the_model_lacks_is_told_with_both_sides() -> None:
    states = {(1,): Seen(400, 0), (2,): Seen(99, 3), (3,): Seen(1, 77)}
    result = compare(TWO, Outcomes(ROUNDS, states), MODEL)
    assert result.forbidden == ((3,),)
    assert result.ruled_out == (
        "x = 0x3, 1 times, first in round 77",
        "the model (masks) allows 2 final states: x = 0x1; x = 0x2; it raises: none",
    )
    assert torture_text([result]).startswith("BAD two-writers")
    assert "THE MODEL RULES OUT" in torture_text([result])
    assert torture_json([result])["cases"][0]["ruled_out"][0].startswith("x = 0x3")


@pytest.mark.parametrize(
    ("kind", "flag"),
    [
        ("stuck", "hang"),
        ("BUG_ON", "bug-on"),
        ("poison read", "use-after-free"),
        ("crash", "wild-address"),
    ],
)
def test_what_stops_the_threads_must_be_known_to_the_model(kind: str, flag: str) -> None:
    seen = Outcomes(3, {}, Stop(kind, 3, "so it was"))
    assert f"{kind} in round 3: so it was" in compare(TWO, seen, MODEL).ruled_out
    knows = Allowed(MODEL.states, frozenset({flag}), ("x",))
    result = compare(TWO, seen, knows)
    assert result.ruled_out == ()
    assert kind in result.note
    other = Allowed(MODEL.states, frozenset({"warn-on"}), ("x",))
    assert compare(TWO, seen, other).ruled_out


def test_a_warning_that_the_model_lacks() -> None:
    seen = Outcomes(3, warned="WARN_ON_ONCE in f")
    assert compare(TWO, seen, MODEL).ruled_out[0] == "WARN_ON_ONCE in f"
    knows = Allowed(MODEL.states, frozenset({"warn-on"}), ("x",))
    assert compare(TWO, seen, knows).ruled_out == ()


def test_a_data_race_leaves_the_rest_open() -> None:
    seen = Outcomes(ROUNDS, {(3,): Seen(1, 77)})
    result = compare(TWO, seen, Allowed(MODEL.states, frozenset({"data-race"}), ("x",)))
    assert (result.forbidden, result.ruled_out) == ((), ())
    assert "data-race" in result.note


# -- what happens natively ------------------------------------------------------------------


PLACES = {
    take: r"spin_lock\(\) of take",
    wait: "a loop of wait",
    wait_without_a_rest: "a loop of wait_without_a_rest",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "function",
    [take, wait, wait_without_a_rest],
)
def test_threads_that_are_stuck_are_named_and_the_model_knows(function: object) -> None:
    def setup(m: Setup) -> None:
        x = m.words(1, "x", value=int(function is take))
        m.thread("waiter", (function, x))  # type: ignore[arg-type]
        m.thread("other", (write, m.words(1, "y"), 1))

    result = one(Case("as written", Scenario("stuck", setup)))
    assert result.ruled_out == ()
    assert re.fullmatch(
        rf"stuck in round 0: not done: waiter at {PLACES[function]}, "
        r"test_check_torture.py:\d+, as the model has it: hang",
        result.note,
    )


def test_time_that_is_up_is_no_finding() -> None:
    seen = Outcomes(3, {(1,): Seen(3, 0)}, Stop("time is up", 3, "not done: a at its start"))
    result = compare(TWO, seen, MODEL)
    assert result.ruled_out == ()
    assert result.note == "time is up in round 3: not done: a at its start"


@pytest.mark.slow
def test_who_is_late_is_told_where_it_stands() -> None:
    def setup(m: Setup) -> None:
        m.thread("first", (take, m.words(1, "free")))
        m.thread("second", (wait, m.words(1, "x")))

    found = run.ran(Case("-", Scenario("late", setup)), 10, Limits(timeout_s=2), 2)
    assert found.stop is not None
    assert found.stop.kind == "time is up"
    assert re.search(r"second at a loop of wait, test_check_torture.py:\d+", found.stop.said)
    assert "first" not in found.stop.said


@pytest.mark.parametrize(
    ("function", "kind", "flag"),
    [(bug, "BUG_ON", "bug-on"), (free_and_look, "poison read", "use-after-free")],
)
def test_a_check_that_fails_is_an_outcome(function: object, kind: str, flag: str) -> None:
    result = one(alone(function))
    assert result.ruled_out == ()
    assert result.note.startswith(f"{kind} in round 0")
    assert result.note.endswith(f"as the model has it: {flag}")


def test_a_warning_is_no_end() -> None:
    result = one(alone(warn))
    assert (result.rounds, result.ruled_out) == (10, ())


def crash(*args: object, **named: object) -> NoReturn:
    faulthandler.disable()  # pytest's own would tell of it
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def test_a_crash_is_an_outcome(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "run_natively", crash)
    result = one(TWO)
    assert result.ruled_out[0] == "crash in round 0: the process ended: crash SIGSEGV"
    assert main(["check", "5b", "--torture", "--rounds", "5"]) == Exit.INTERNAL
    out, err = capsys.readouterr()
    assert out.count("SIGSEGV") == err.count("THE MODEL RULES OUT") == 3


@pytest.mark.slow
def test_time_is_up_for_a_case_that_gets_on() -> None:
    limits = Limits(jobs=1, timeout_s=0.5)
    claim = Claim("c", "It is so.", "a test", (TWO,))
    (result,) = torture([claim], 10**9, limits)
    assert 0 < result.rounds < 10**9
    assert result.ruled_out == ()


def watch_below(m: Setup) -> None:
    two_writers(m)
    m.watch("memblock", MEMBLOCK)


def broken(m: Setup) -> None:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("setup", "reason"), [(watch_below, "boot area"), (broken, "ValueError: no")]
)
def test_what_can_not_be_run_is_left_out(setup: Callable[[Setup], None], reason: str) -> None:
    result = one(Case("", Scenario("below", setup)))
    assert result.rounds == 0
    assert reason in result.note


def test_a_variant_runs_natively_too() -> None:
    (claim,) = load.select(load.shipped(), ["1"])
    case = claim.cases[-1]
    assert isinstance(case.edits[0], Drop)
    result = one(case, ROUNDS)
    assert result.ruled_out == ()
    if result.rounds < ROUNDS:  # the checked build may meet what the model warns of
        assert "use-after-free" in result.note
