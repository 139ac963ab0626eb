"""Every seeded fault of arm64's stage 2 is noticed, or harmless for a reason given here."""

from __future__ import annotations

import pytest
from arm64_mutants import ARM64_MUTANTS, Arm64Mutant

from mkold.check import Case
from mkold.check.decide import decide_case

pytestmark = pytest.mark.quality

HARMLESS = {
    "a new table published without release, by a fault": "the compare-and-swap that broke the "
    "entry orders what comes before it",
    "a relaxed clear": "nothing is ordered by it",
    "a page marked by a read and a write": "the log has one page here, whose bit it sets",
    "protection without the lock": "a page is in the log only when its fault is done",
}


def test_there_are_enough_and_each_has_its_own_name() -> None:
    names = [mutant.what for mutant in ARM64_MUTANTS]
    assert len(set(names)) == len(names)
    assert len(names) - len(HARMLESS) >= 20
    assert set(HARMLESS) <= set(names)


@pytest.mark.parametrize("mutant", ARM64_MUTANTS, ids=lambda mutant: mutant.what)
def test_a_seeded_fault(mutant: Arm64Mutant) -> None:
    result = decide_case(mutant.case, show=False)
    expected = "holds" if mutant.what in HARMLESS else "counterexample"
    assert result.status == expected, (result.broken, result.reason)


SCENARIOS = {mutant.scenario.name: mutant.scenario for mutant in ARM64_MUTANTS}


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_the_fault_nothing_breaks(name: str) -> None:
    result = decide_case(Case("as it is", SCENARIOS[name]), show=False)
    assert result.status == "holds"
    assert result.broken == ()
