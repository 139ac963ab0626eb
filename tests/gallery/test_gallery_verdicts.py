"""Every file of the gallery against what is wanted of it.

``expected.csv`` has a row for each case: it holds, or it is refuted by the property named.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import pytest

from mkold.check import load
from mkold.check.claim import Case
from mkold.check.decide import decide_case
from mkold.check.result import CaseResult

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
with (Path(__file__).parent / "expected.csv").open(newline="") as file:
    ROWS = list(csv.DictReader(file))


@cache
def cases(name: str) -> dict[tuple[str, str], Case]:
    claims = load.from_file(GALLERY / f"{name}.py")
    return {(claim.name, case.label): case for claim in claims for case in claim.cases}


@cache
def decided(name: str, claim: str, label: str) -> CaseResult:
    return decide_case(cases(name)[claim, label], show=False)


def _params() -> list[object]:
    return [
        pytest.param(
            row,
            id=f"{row['file']}, {row['claim']}, {row['case']}: {row['wanted']}",
        )
        for row in ROWS
    ]


@pytest.mark.parametrize("row", _params())
def test_each_case_is_as_wanted(row: dict[str, str]) -> None:
    found = decided(row["file"], row["claim"], row["case"])
    if row["wanted"] == "holds":
        assert (found.status, found.broken) == ("holds", ())
    else:
        assert found.status == "counterexample"
        assert row["wanted"] in found.broken


def test_no_case_is_left_out() -> None:
    names = sorted(path.stem for path in GALLERY.glob("*.py"))
    there = {(name, *key) for name in names for key in cases(name)}
    assert there == {(row["file"], row["claim"], row["case"]) for row in ROWS}


@pytest.mark.parametrize("name", sorted({row["file"] for row in ROWS}))
def test_both_claims_say_the_same_of_the_same_source(name: str) -> None:
    fixed, bug = load.from_file(GALLERY / f"{name}.py")
    assert (fixed.name, bug.name) == ("fixed", "bug")
    assert (fixed.sentence, fixed.source) == (bug.sentence, bug.source)
