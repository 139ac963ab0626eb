"""What docs/findings says of powerpc is what the claims say, and each page has its pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mkold.check import load
from mkold.check.program import build
from mkold.lkmm import Status, decide

FINDINGS = Path(__file__).parents[2] / "docs" / "findings"
PAGES = ("hpt-bare-unlock", "hpt-freed-first", "nested-aging", "nested-first-guest")


@pytest.mark.parametrize("page", PAGES)
def test_pictures_and_parameters_are_there(page: str) -> None:
    text = (FINDINGS / f"{page}.md").read_text()
    pictures = re.findall(r"\]\((\S+\.svg)\)", text)
    assert pictures
    for picture in pictures:
        assert (FINDINGS / picture).exists()
    source = "".join(
        file.read_text()
        for folder in ("hash", "nested")
        for file in (FINDINGS.parents[1] / "src/mkold/kvm/powerpc" / folder).glob("*.py")
    )
    for name in re.findall(r"`([A-Z]+_[A-Z_]+)`", text):
        assert name in source, name


@pytest.mark.slow
def test_a_bare_store_is_a_race_and_a_release_is_none() -> None:
    (claim,) = load.from_file(FINDINGS / "hpt_bare_unlock.py")
    flags = []
    for case in claim.cases:
        verdict = decide(build(case.scenario, case.edits).program, engine="sat")
        assert verdict.status is Status.OK
        flags.append(verdict.flags)
    assert flags == [(), ("data-race",)]
