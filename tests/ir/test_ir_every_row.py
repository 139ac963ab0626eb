"""Every row of the table means the same in every reading, on every width of object."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from every_row import (
    AT,
    N_WORDS,
    READINGS,
    Given,
    Machine,
    Outcome,
    Use,
    by_engine,
    interpreted,
    program,
    split,
    uses,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkold.ir.interpret import Interpreter
from mkold.ir.nodes import WORD_BITS, WORD_MASK
from mkold.ir.prims import PRIMS, Prim, Shape, Takes, find
from mkold.ir.prims.locks import LOCKED, UNLOCKED
from mkold.ir.program import POISON
from mkold.lkmm import decide
from mkold.native import KernelBugError, Memory

_EDGES = [0, 1, 5, 63, 64, POISON, *(1 << n for n in (7, 8, 15, 16, 31, 32, 63))]
words = st.one_of(
    st.sampled_from(_EDGES).flatmap(lambda n: st.integers(max(0, n - 1), n)),
    st.integers(WORD_MASK - 1, WORD_MASK),
    st.integers(0, WORD_MASK),
)


def _meaning(row: Prim) -> Prim:
    return replace(row, name="", family="", width=0, macro=None, source="")


def _first_of_meaning() -> set[str]:
    found: dict[Prim, str] = {}
    for row in PRIMS.values():
        found.setdefault(_meaning(row), row.name)
    return set(found.values())


# Rows that differ in name and width alone (``atomic64_inc``) get a few examples each.
NEW = _first_of_meaning()


@st.composite
def cases(draw: st.DrawFn, row: Prim) -> tuple[Use, Given]:
    use = draw(st.sampled_from(uses(row)))
    old = [draw(words) for _ in range(N_WORDS)]
    a, b = draw(words), draw(words)
    if Takes.BIT in row.takes:
        a = draw(st.integers(0, N_WORDS * WORD_BITS - 1))
    if use.shift is None and use.width < WORD_BITS:
        old[0] %= 1 << use.width  # a narrow object's word holds nothing else
    if Takes.PLACE in row.takes and row.native:
        free = row.leaves or row.waits or row.family == "rwlock"  # whose words differ
        held = [UNLOCKED] if free else [UNLOCKED, LOCKED]
        old[0] = draw(st.sampled_from(held))
    if Takes.STRUCT in row.takes:
        old = [0] * N_WORDS
    if Takes.AGAINST in row.takes and draw(st.booleans()):
        b = old[0]
    return use, Given(tuple(old), a, b)


@pytest.fixture(scope="module")
def machines(request: pytest.FixtureRequest) -> list[Machine]:
    names = PRIMS if request.config.getoption("--runslow") else NEW
    every = [use for name in names for use in uses(PRIMS[name])]
    return [Machine(every, checked=checked) for checked in (False, True)]


def _each() -> list[Any]:
    """Every row; those that differ in name and width alone are slow."""
    return [
        pytest.param(row, id=name, marks=[] if name in NEW else [pytest.mark.slow])
        for name, row in PRIMS.items()
    ]


@pytest.mark.parametrize("row", _each())
def test_a_row_means_the_same_everywhere(row: Prim, machines: list[Machine]) -> None:
    assert uses(row)

    @settings(
        max_examples=6 if row.name in NEW else 2,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(row))
    def check(case: tuple[Use, Given]) -> None:
        agree(*case, machines)

    check()


def agree(use: Use, given: Given, machines: list[Machine]) -> None:
    expected = interpreted(use, given)
    halves = split(use, given)
    assert halves is None or halves == expected
    for machine in machines:
        got = machine(use, given)
        if got is None:
            assert POISON in given.old
        else:
            assert got == expected
    for name, engine in READINGS.items():
        assert engine(use, given) == expected, name


FAKES = {
    "unknown arithmetic": replace(PRIMS["atomic_fetch_add"], name="fake", op="nand"),
    "unknown shape": replace(PRIMS["smp_mb"], name="fake", shape="strange"),
}


@pytest.mark.parametrize("kind", FAKES)
def test_a_row_without_a_reading_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = FAKES[kind]
    monkeypatch.setitem(PRIMS, "fake", row)
    use, given = Use(row), Given((1, 2, 3), 4, 5)
    readings = [interpreted, *READINGS.values(), lambda use, _: Machine([use], checked=False)]
    for reading in readings:
        with pytest.raises((AssertionError, KeyError)):
            reading(use, given)


@pytest.mark.parametrize("row", find(family="bit"), ids=lambda row: row.name)
@pytest.mark.parametrize("bit", [N_WORDS * WORD_BITS, 1 << 20, 1 << 63, WORD_MASK])
def test_a_bit_far_away_is_far_away_in_every_reading(row: Prim, bit: int) -> None:
    use, given = Use(row), Given((1, 2, 3), bit, 0)
    at = (AT + (bit >> 6)) & WORD_MASK
    memory = given.memory()
    results = Interpreter({use.name: use.function()}, memory).call(use.name, AT, bit, 0)
    assert {address for address in memory if address not in given.memory()} == {at}
    expected = (*results, memory[at])
    assert tuple(decide(program(use, given, [at])).states) == (expected,)
    checked = Machine([use], checked=True)
    if at >= AT:
        return
    with pytest.raises(KernelBugError) as caught:
        checked.image.call(use.name, Memory(AT + 64), 0, AT, bit, 0)
    assert caught.value.finding.value == at


def test_every_shape_has_a_row() -> None:
    assert {row.shape for row in PRIMS.values()} == set(Shape)


def test_the_cases_reach_what_they_are_for() -> None:
    """A lock that is held, an exchange that fails, an object at every width."""
    assert len(uses(PRIMS["atomic_inc"])) == 4
    assert [use.name for use in uses(PRIMS["WRITE_ONCE"])][-3:] == [
        "WRITE_ONCE.8.24",
        "WRITE_ONCE.16.48",
        "WRITE_ONCE.32.0",
    ]
    assert len(uses(PRIMS["store"])) == 4  # no plain store to a part
    assert len(uses(PRIMS["atomic64_inc"])) == len(uses(PRIMS["set_bit"])) == 1
    held = Given((LOCKED, 0, 0), 0, 0)
    assert interpreted(Use(PRIMS["spin_trylock"]), held).results == (0,)
    assert by_engine("literal", Use(PRIMS["cmpxchg"]), Given((3, 0, 0), 7, 4)) == Outcome(
        "", (3,), (3, 0, 0)
    )
