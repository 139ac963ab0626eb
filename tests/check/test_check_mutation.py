"""Every seeded fault is noticed, or it is harmless for a reason that is given here.

``python bench/mutation.py`` prints the table.
"""

from __future__ import annotations

import pytest
from mutants import MUTANTS, Mutant

from mkold.check import Case
from mkold.check.decide import decide_case

pytestmark = pytest.mark.quality

HARMLESS = {
    "flag written with no lock": "the flag has one writer and its readers in this scenario "
    "take no lock; the grace period does the work",
    "root left behind": "whoever reads the root has looked at the flag first, and the flag "
    "has been off for a grace period",
    "switch: mode of the vCPU without acquire": "the frees are writes under a control "
    "dependency of that read, and the hardware writes nothing but R and C of entries "
    "that it reads first",
    "root read plainly": "the write of the root is before the flag (smp_wmb), the read "
    "behind it (smp_rmb): they can't race",
    "compare-and-swap relaxed": "the pass publishes nothing through an entry: only the "
    "atomicity counts",
    "no smp_wmb between counter and in_progress": "both are written under mmu_lock and "
    "read under it",
    "no smp_rmb between in_progress and counter": "both are written under mmu_lock and "
    "read under it",
    "page logged by a read and a write": "everybody who logs holds mmu_lock, and against "
    "the fetch a page that was fetched may be logged once more, never lost",
}


def test_there_are_enough_and_each_has_its_own_name() -> None:
    names = [mutant.what for mutant in MUTANTS]
    assert len(set(names)) == len(names)
    assert len(names) - len(HARMLESS) >= 25
    assert set(HARMLESS) <= set(names)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_seeded_fault(mutant: Mutant) -> None:
    result = decide_case(mutant.case, show=False)
    expected = "holds" if mutant.what in HARMLESS else "counterexample"
    assert result.status == expected, (result.broken, result.reason)


# A table used again at once shows other pages to the walker: claim 7b. The others have
# their fault in a function that stands in the place of another.
BROKEN_AS_THEY_ARE = {
    "walk-vs-recycled-table",
    "one-more",
    "one-less",
    "stale-tlb-flush-first",
}
SCENARIOS = {
    mutant.scenario.name: mutant.scenario
    for mutant in MUTANTS
    if mutant.scenario.name not in BROKEN_AS_THEY_ARE
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_the_fault_nothing_breaks(name: str) -> None:
    result = decide_case(Case("as it is", SCENARIOS[name]), show=False)
    assert result.broken == ()
