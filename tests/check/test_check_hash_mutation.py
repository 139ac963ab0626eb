"""Every seeded fault of hash mode is noticed, or harmless for a reason that is given here."""

from __future__ import annotations

import pytest
from hash_mutants import HASH_MUTANTS, HashMutant

from mkold.check import Case
from mkold.check.decide import decide_case

pytestmark = pytest.mark.quality

HARMLESS = {
    "rmap not locked while an entry goes": "a page with one entry: the HPTE's lock orders what "
    "both touch, and aging writes the rmap word only if REFERENCED was set before",
    "dirty log: no eieio": "the HPTE is let go by a release",
    "dirty log: C not cleared": "the page is logged once more, never too little",
    "to radix: rmap words not reset": "the flag goes on under mmu_lock before the table is "
    "freed, and whoever comes later looks at it first; the next switch to hash resets them",
}


def test_there_are_enough_and_each_has_its_own_name() -> None:
    names = [mutant.what for mutant in HASH_MUTANTS]
    assert len(set(names)) == len(names)
    assert len(names) - len(HARMLESS) >= 25
    assert set(HARMLESS) <= set(names)


@pytest.mark.parametrize("mutant", HASH_MUTANTS, ids=lambda mutant: mutant.what)
def test_a_seeded_fault(mutant: HashMutant) -> None:
    result = decide_case(mutant.case, show=False)
    expected = "holds" if mutant.what in HARMLESS else "counterexample"
    assert result.status == expected, (result.broken, result.reason)


SCENARIOS = {mutant.scenario.name: mutant.scenario for mutant in HASH_MUTANTS}


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_the_fault_nothing_breaks(name: str) -> None:
    result = decide_case(Case("as it is", SCENARIOS[name]), show=False)
    assert result.status == "holds"
    assert result.broken == ()
