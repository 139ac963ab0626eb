"""What docs say of the TDP MMU names what there is; the finding's quick cases are so."""

from __future__ import annotations

import re
from pathlib import Path

from mkold.check import load
from mkold.check.decide import decide_case

DOCS = Path(__file__).parents[2] / "docs"
ROOM = DOCS.parent / "src" / "mkold" / "kvm" / "x86"
COVERAGE = (DOCS / "coverage.md").read_text()
FINDING = (DOCS / "findings" / "tdp-frozen.md").read_text()
NUMBERS = {claim.name.partition("-")[0] for claim in load.shipped()}
SOURCE = "".join(file.read_text() for file in ROOM.rglob("*.py"))


def test_what_the_coverage_names_is_there() -> None:
    for file in set(re.findall(r"`([\w./]+\.py)`", COVERAGE)):
        assert (ROOM / file).exists() or (DOCS.parent / file).exists(), file
    for name in set(re.findall(r"`([A-Z]+_[A-Z_]+)`", COVERAGE)):
        assert name in SOURCE, name


def test_every_claim_of_the_tdp_mmu_is_in_the_coverage() -> None:
    def number(name: str) -> int:
        return int(re.sub(r"\D", "", name))

    cells = " ".join(line.split("|")[-2] for line in COVERAGE.splitlines() if "|" in line)
    named = set(re.findall(r"\b\d\d[a-d]?\b", cells))
    for first, last in re.findall(r"\b(\d\d) to (\d\d)\b", cells):
        named |= {str(n) for n in range(int(first), int(last) + 1)}
    for name in NUMBERS:
        if 60 <= number(name) <= 89:
            assert name in named or name.rstrip("abcd") in named, name


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
