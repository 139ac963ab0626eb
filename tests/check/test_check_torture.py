"""Natively, no outcome is seen that the model forbids; and the comparison can fail."""

from __future__ import annotations

import pytest

from mkold.check import Case, Drop, Scenario, Setup, load
from mkold.check.torture.run import Outcomes, compare, torture
from mkold.ir.boot import MEMBLOCK
from mkold.lang import WRITE_ONCE, Ptr, kernel, u64

ROUNDS = 500


QUICK, SLOW = ("2", "5", "14", "19"), ("1", "11", "16", "17", "18", "20")


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_shipped_claims(name: str) -> None:
    ran = 0
    for claim in load.select(load.shipped(), [name]):
        for case in claim.cases:
            result = torture(case, rounds=ROUNDS, timeout_s=30)
            assert result.forbidden == (), (case.label, result.note)
            assert result.n_seen <= result.n_allowed
            ran += result.rounds
    assert ran >= ROUNDS


@kernel
def write(p: Ptr[u64], value: u64) -> None:
    WRITE_ONCE(p.value, value)


def two_writers(m: Setup) -> None:
    x = m.words(1, "x")
    m.watch("x", x)
    m.thread("a", (write, x, 1))
    m.thread("b", (write, x, 2))


def test_an_outcome_that_the_model_lacks_is_an_error() -> None:
    case = Case("two writers", Scenario("two-writers", two_writers))
    assert compare(case, Outcomes({(1,), (2,), (3,)}), {(1,), (2,)}, ROUNDS).forbidden == (
        (3,),
    )


def test_a_thread_that_stops_where_the_model_sees_no_reason_is_an_error() -> None:
    case = Case("two writers", Scenario("two-writers", two_writers))
    result = compare(case, Outcomes(set(), stopped=True), {(1,), (2,)}, ROUNDS)
    assert result.forbidden
    assert "stuck" in result.note
    expected = compare(case, Outcomes(set(), stopped=True), set(), ROUNDS, may_stop=True)
    assert not expected.forbidden


def watch_below(m: Setup) -> None:
    two_writers(m)
    m.watch("memblock", MEMBLOCK)


def test_a_watched_word_of_the_boot_area_is_refused() -> None:
    result = torture(Case("", Scenario("below", watch_below)), rounds=10, timeout_s=10)
    assert result.rounds == 0
    assert "boot area" in result.note


def test_a_variant_runs_natively_too() -> None:
    (claim,) = load.select(load.shipped(), ["1"])
    case = claim.cases[-1]
    assert isinstance(case.edits[0], Drop)
    result = torture(case, rounds=ROUNDS, timeout_s=30)
    assert result.rounds == ROUNDS
    assert result.forbidden == ()
