"""The engine against what is known of idioms and flags, and against the other engine."""

from __future__ import annotations

from itertools import pairwise

import pytest
from flag_rows import ROWS as FLAGS
from hypothesis import given
from hypothesis import strategies as st
from idioms import NEVER, ROWS, SOMETIMES
from random_programs import OBSERVED, common, random_program, threads
from small import program

from mkold.ir.program import Program
from mkold.lkmm import Axiom, Observation, Status, decide


@pytest.mark.parametrize(
    ("threads", "asked", "observation", "axiom"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_idiom(
    threads: tuple[str, ...], asked: str, observation: Observation, axiom: Axiom | None
) -> None:
    made = program(*threads, exists=asked)
    full = decide(made, engine="sat")
    quick = decide(made, states=False, witness=True, engine="sat")
    assert full.observation is quick.observation is observation
    assert full.holds is (observation is not NEVER)
    assert set(full.states) == set(decide(made, engine="masks").states)
    if axiom is not None:
        assert quick.forbidden is not None
        cycle = quick.forbidden.cycle
        assert cycle is not None
        assert cycle.axiom is axiom
        for closed in (cycle.edges, cycle.parts):
            assert closed
            for edge, following in pairwise((*closed, closed[0])):
                assert edge.target == following.source
    elif observation is SOMETIMES:
        assert quick.witness is not None
        assert quick.witness.final == tuple(int(f.partition("=")[2]) for f in asked.split()
                                            if f.partition("=")[2].isdigit())  # fmt: skip


@pytest.mark.parametrize(
    ("threads", "flags"), [row[1:] for row in FLAGS], ids=[row[0] for row in FLAGS]
)
def test_flags(threads: tuple[str, ...], flags: set[str]) -> None:
    verdict = decide(program(*threads, observed="x"), witness=True, engine="sat")
    assert set(verdict.flags) == flags
    assert set(verdict.flagged) >= flags
    if "data-race" in flags:
        race = verdict.flagged["data-race"].race
        assert race is not None
        first, second = (verdict.flagged["data-race"].events[number] for number in race)
        assert first.address == second.address
        assert first.thread != second.thread


def agree(made: Program) -> None:
    """The two find the same; but one sees what goes wrong where threads wait for ever, too."""
    masks, sat = decide(made, engine="masks"), decide(made, engine="sat")
    assert masks.status is sat.status is Status.OK
    assert set(masks.states) == set(sat.states)
    theirs, ours = set(masks.flags) - {"hang"}, set(sat.flags) - {"hang"}
    assert theirs <= ours
    if "hang" not in sat.flags:
        assert theirs == ours
        assert masks.states


@common
@given(threads(most=3))
def test_same_as_the_other_engine(bodies: list[list[str]]) -> None:
    agree(random_program(bodies))


POINTERS = [
    "r1 = READ_ONCE(z)",
    "r2 = READ_ONCE(r1)",
    "WRITE_ONCE(z, y)",
    "poison(y, 1)",
    "WRITE_ONCE(r1, 3)",
    "r2 = load(r1)",
    "r1 = xchg(z, x)",
    "r1 = READ_ONCE(x)",
]
LOCKS = ["r1 = spin_trylock(l)", "spin_lock(l)", "spin_unlock(l)", "r2 = spin_is_locked(l)",
         "WRITE_ONCE(x, 1)", "r2 = READ_ONCE(x)", "read_lock(m)", "read_unlock(m)",
         "write_lock(m)", "write_unlock(m)"]  # fmt: skip
COOKIES = ["r1 = srcu_read_lock(s)", "srcu_read_unlock(s, r1)", "WRITE_ONCE(y, r1)",
           "r1 = READ_ONCE(y)", "synchronize_srcu(s)", "srcu_read_unlock(s, 0)",
           "rcu_read_lock()", "rcu_read_unlock()", "synchronize_rcu()"]  # fmt: skip


@pytest.mark.parametrize("pool", [POINTERS, LOCKS, COOKIES], ids=["pointers", "locks", "srcu"])
@common
@given(st.data())
def test_same_of(pool: list[str], data: st.DataObject) -> None:
    body = st.lists(st.sampled_from(pool), min_size=1, max_size=4)
    bodies = data.draw(st.lists(body, min_size=2, max_size=2))
    made = program(*("; ".join(b) for b in bodies), observed="0:r1 0:r2 1:r1 1:r2 x y",
                   init={"z": 0x1000 + 0x10 * 23})  # fmt: skip
    agree(made)


@common
@given(threads(most=3))
def test_quick_answer_is_the_full_one(bodies: list[list[str]]) -> None:
    made = random_program(bodies)
    for state in list(decide(made, engine="sat").states)[:2]:
        facts = zip(OBSERVED.split(), state, strict=True)
        exists = " ".join(f"{name}={word}" for name, word in facts)
        asked = program(*("; ".join(body) for body in bodies), exists=exists)
        assert decide(asked, states=False, engine="sat").holds is True


def test_time_is_kept() -> None:
    adder = "r1 = atomic_fetch_add_relaxed(x, 1); r2 = READ_ONCE(x)"
    made = program(*[adder] * 9, observed=" ".join(f"{i}:r2" for i in range(9)))
    verdict = decide(made, timeout_s=1, engine="sat")
    assert verdict.status is Status.TIMEOUT
    assert verdict.cpu_s < 10
