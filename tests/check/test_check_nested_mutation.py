"""Every seeded fault of guests of the guest is noticed, or harmless for a reason given here."""

from __future__ import annotations

import pytest
from nested_mutants import NESTED_MUTANTS, NestedMutant

from mkold.check import Case
from mkold.check.decide import decide_case

pytestmark = pytest.mark.quality

HARMLESS = {
    "the list read, then cleared": "whoever writes the word holds mmu_lock",
    "tlbies without tlb_lock": "the tree changes under mmu_lock, and no fault is at work, "
    "which is what tlb_lock is for",
    "compare-and-swap relaxed": "both entries have R from the start, so nothing new has to be "
    "seen; the clears are in order by a control dependency",
    "compare-and-swap an acquire": "as relaxed",
    "first access: compare-and-swap an acquire": "the walk comes after the clear of L1's "
    "entry, which is all that is needed of it",
}


def test_there_are_enough_and_each_has_its_own_name() -> None:
    names = [mutant.what for mutant in NESTED_MUTANTS]
    assert len(set(names)) == len(names)
    assert len(names) - len(HARMLESS) >= 25
    assert set(HARMLESS) <= set(names)


@pytest.mark.parametrize("mutant", NESTED_MUTANTS, ids=lambda mutant: mutant.what)
def test_a_seeded_fault(mutant: NestedMutant) -> None:
    result = decide_case(mutant.case, show=False)
    expected = "holds" if mutant.what in HARMLESS else "counterexample"
    assert result.status == expected, (result.broken, result.reason)


SCENARIOS = {mutant.scenario.name: mutant.scenario for mutant in NESTED_MUTANTS}


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_the_fault_nothing_breaks(name: str) -> None:
    result = decide_case(Case("as it is", SCENARIOS[name]), show=False)
    assert result.status == "holds"
    assert result.broken == ()
