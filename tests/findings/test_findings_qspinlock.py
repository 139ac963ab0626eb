"""What docs/findings says of the kernel's queued spinlock is so."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from mkold.check import load
from mkold.check.claim import Case
from mkold.check.program import build
from mkold.lkmm import Status, decide

FINDINGS = Path(__file__).parents[2] / "docs" / "findings"


@cache
def cases() -> dict[tuple[str, str], Case]:
    claims = load.from_file(FINDINGS / "qspinlock.py")
    return {(claim.name, case.label): case for claim in claims for case in claim.cases}


def flags(claim: str, label: str) -> tuple[tuple[str, ...], int]:
    """What goes wrong, and how many final states there are; no bound may be hit."""
    case = cases()[claim, label]
    verdict = decide(build(case.scenario, case.edits).program, engine="sat")
    assert verdict.status is Status.OK
    return verdict.flags, len(verdict.states)


def test_two_cpus_have_the_lock_one_at_a_time() -> None:
    assert flags("lock", "two CPUs") == ((), 1)


@pytest.mark.slow
def test_three_cpus_have_the_lock_one_at_a_time() -> None:
    assert flags("lock", "three CPUs") == ((), 1)


@pytest.mark.slow
def test_the_queue_alone_loses_an_addition_but_lets_nobody_wait_for_ever() -> None:
    assert flags("queue", "three CPUs") == (("data-race",), 2)


@pytest.mark.slow
def test_an_acquire_of_the_tail_leaves_a_race_of_the_node() -> None:
    assert flags("mended", "the tail exchanged by an acquire") == (("data-race",), 1)


@pytest.mark.slow
def test_a_full_barrier_at_the_tail_mends_it() -> None:
    assert flags("mended", "the tail exchanged by a full barrier") == ((), 1)


def test_the_page_shows_the_file_and_its_picture() -> None:
    page = (FINDINGS / "qspinlock.md").read_text()
    assert "mkold check docs/findings/qspinlock.py" in page
    assert "](qspinlock.svg)" in page
    assert (FINDINGS / "qspinlock.svg").exists()
