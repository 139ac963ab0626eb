"""Every seeded fault of the shadow MMU is noticed, or harmless for a reason given here."""

from __future__ import annotations

import pytest
from shadow_mutants import SHADOW_MUTANTS, ShadowMutant

from mkold.check import Case
from mkold.check.decide import decide_case

pytestmark = pytest.mark.quality

HARMLESS = {
    "bit taken relaxed": "of a word with one SPTE nothing is read but by an address that it "
    "gave; with a chain it matters (claim 90)",
    "table published without release": "who comes by the chain has the release of its word",
    "no full lock, listed first": "the SPTE is published by a release behind it",
    "the host's lock left out": "the ager does not take it: the bit is all there is",
}


def test_there_are_enough_and_each_has_its_own_name() -> None:
    names = [mutant.what for mutant in SHADOW_MUTANTS]
    assert len(set(names)) == len(names)
    assert len(names) - len(HARMLESS) >= 25
    assert set(HARMLESS) <= set(names)


@pytest.mark.parametrize("mutant", SHADOW_MUTANTS, ids=lambda mutant: mutant.what)
def test_a_seeded_fault(mutant: ShadowMutant) -> None:
    result = decide_case(mutant.case, show=False)
    expected = "holds" if mutant.what in HARMLESS else "counterexample"
    assert result.status == expected, (result.broken, result.reason)


SCENARIOS = {mutant.scenario.name: mutant.scenario for mutant in SHADOW_MUTANTS if mutant.edits}


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_the_fault_nothing_breaks(name: str) -> None:
    result = decide_case(Case("as it is", SCENARIOS[name]), show=False)
    assert result.status == "holds"
    assert result.broken == ()
