"""What docs say of the TDP MMU names what there is; the finding's quick cases are so."""

from __future__ import annotations

import re
from pathlib import Path

from mkold.check import load
from mkold.check.decide import decide_case

DOCS = Path(__file__).parents[2] / "docs"
FINDING = (DOCS / "findings" / "tdp-frozen.md").read_text()
NUMBERS = {claim.name.partition("-")[0] for claim in load.shipped()}


def test_the_finding_has_its_picture_and_its_claims() -> None:
    (picture,) = re.findall(r"\]\((\S+\.svg)\)", FINDING)
    assert (DOCS / "findings" / picture).exists()
    (asked,) = re.findall(r"^    mkold check (73[\da-d ]+)", FINDING, re.M)
    assert set(asked.split()) <= NUMBERS


def test_its_quick_cases_are_so() -> None:
    claims = {claim.name: claim for claim in load.from_file(DOCS / "findings/tdp_frozen.py")}
    for case in (*claims["as-it-is"].cases[:2], *claims["fixed"].cases[:2]):
        broken = decide_case(case, show=False).broken
        assert bool(broken) == ("as it is" in case.label), case.label
