"""What docs say of the shadow MMU names what there is: pictures, parameters, claims, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mkold.check import load

DOCS = Path(__file__).parents[2] / "docs"
ROOM = DOCS.parent / "src" / "mkold" / "kvm" / "x86" / "shadow"
NUMBERS = {claim.name.partition("-")[0] for claim in load.shipped()}


@pytest.mark.parametrize("page", ["shadow-gate", "shadow-large-step", "shadow-window"])
def test_what_a_page_names_is_there(page: str) -> None:
    text = (DOCS / "findings" / f"{page}.md").read_text()
    for picture in re.findall(r"\]\((\S+\.svg)\)", text):
        assert (DOCS / "findings" / picture).exists()
    source = "".join(file.read_text() for file in ROOM.glob("*.py"))
    for name in re.findall(r"`(R[A-Z]+_[A-Z_]+)`", text):
        assert name in source, name
    (asked,) = re.findall(r"^    mkold check ([\d ]+)", text, re.M)
    assert set(asked.split()) <= NUMBERS
