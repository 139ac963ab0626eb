"""docs/coverage.md names files, parameters and claims that there are, and every claim."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mkold.check import load

ROOT = Path(__file__).parents[2]
KVM = ROOT / "src" / "mkold" / "kvm"
# Part of the page, by the word in its heading: where its files are, and its claims.
PARTS = {
    "TDP MMU": (KVM / "x86", range(60, 90)),
    "shadow MMU": (KVM / "x86" / "shadow", range(90, 110)),
    "stage 2": (KVM / "arm64", range(110, 140)),
}
NAMES = {claim.name.partition("-")[0] for claim in load.shipped()}


def part(word: str) -> str:
    page = (ROOT / "docs" / "coverage.md").read_text()
    (found,) = [text for text in page.split("\n## ") if word in text.splitlines()[0]]
    return found


@pytest.mark.parametrize("word", PARTS)
def test_what_it_names_is_there(word: str) -> None:
    folder, _ = PARTS[word]
    source = "".join(path.read_text() for path in KVM.rglob("*.py"))
    source += "".join(path.read_text() for path in (KVM.parent / "mm").rglob("*.py"))
    for file in set(re.findall(r"`([\w./]+\.py)`", part(word))):
        places = (folder, folder / "pgtable", ROOT, ROOT / "tests" / "kvm", KVM.parent)
        assert any((at / file).exists() for at in places), file
    for name in set(re.findall(r"`([A-Z]+_[A-Z_]+)`", part(word))):
        assert name in source, name


@pytest.mark.parametrize("word", PARTS)
def test_every_claim_is_named_and_no_other(word: str) -> None:
    _, numbers = PARTS[word]
    cells = " ".join(line.split("|")[-2] for line in part(word).splitlines() if "|" in line)
    named = set(re.findall(r"\b\d\d+[a-d]?\b", cells))
    for first, last in re.findall(r"\b(\d+) to (\d+)\b", cells):
        named |= {str(n) for n in range(int(first), int(last) + 1)}
    whole = {name.rstrip("abcd") for name in NAMES}
    assert {name.rstrip("abcd") for name in named} <= whole
    mine = {name for name in NAMES if int(name.rstrip("abcd")) in numbers}
    assert mine
    for name in mine:
        assert name in named or name.rstrip("abcd") in named, name
