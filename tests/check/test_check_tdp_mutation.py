"""Every seeded fault of the TDP MMU is noticed, or harmless for a reason given here."""

from __future__ import annotations

import pytest
from tdp_mutants import TDP_MUTANTS, TdpMutant

from mkold.check import Case
from mkold.check.decide import decide_case

pytestmark = pytest.mark.quality

HARMLESS = {
    "tables linked by a release": "a table is reached by address dependency, which a release "
    "of its entry is enough for",
    "D cleared by a store": "a leaf that is written to and dirty has nothing left to lose but "
    "its accessed bit, which aging clears anyway",
    "logging starts without a barrier": "taking a reference of the root is a full barrier too",
}


def test_there_are_enough_and_each_has_its_own_name() -> None:
    names = [mutant.what for mutant in TDP_MUTANTS]
    assert len(set(names)) == len(names)
    assert len(names) - len(HARMLESS) >= 40
    assert set(HARMLESS) <= set(names)


@pytest.mark.parametrize("mutant", TDP_MUTANTS, ids=lambda mutant: mutant.what)
def test_a_seeded_fault(mutant: TdpMutant) -> None:
    result = decide_case(mutant.case, show=False)
    expected = "holds" if mutant.what in HARMLESS else "counterexample"
    assert result.status == expected, (result.broken, result.reason)


SCENARIOS = {mutant.scenario.name: mutant for mutant in TDP_MUTANTS}


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_the_fault_nothing_breaks(name: str) -> None:
    mutant = SCENARIOS[name]
    result = decide_case(Case("as it is", mutant.scenario, mutant.params), show=False)
    assert result.status == "holds"
    assert result.broken == ()
