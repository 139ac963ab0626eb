"""Each file of the gallery has a page, a picture that is made of it, and a row in the index."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mkold.check import load
from mkold.check.decide import decide_claim
from mkold.view.html import first_svg

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
NAMES = sorted(path.stem for path in GALLERY.glob("*.py"))

each = pytest.mark.parametrize("name", NAMES)


def page(name: str) -> str:
    return (GALLERY / f"{name}.md").read_text()


@each
def test_five_sentences(name: str) -> None:
    text = page(name).split("\n\n")[1]
    assert len(re.findall(r"[.:;]?\S[.!?](?=\s+[`A-Z]|$)", text)) == 5


@each
def test_a_page_runs_and_shows_its_own_file(name: str) -> None:
    assert f"\n    mkold check docs/gallery/{name}.py --explain\n" in page(name)
    assert f"]({name}.svg)\n" in page(name)


@each
def test_a_page_names_the_source_of_its_claims(name: str) -> None:
    source = load.from_file(GALLERY / f"{name}.py")[0].source
    shown = " ".join(page(name).split())
    marks = re.findall(r"\b[0-9a-f]{12}\b|https?://\S+|[a-z/_]+\.[ch]\b|doi:\S+", source)
    assert marks
    assert all(mark in shown for mark in marks)


@each
def test_the_index_has_a_row(name: str) -> None:
    title = page(name).splitlines()[0].removeprefix("# ")
    assert f"| [{name}]({name}.md) | {title} |" in (GALLERY / "README.md").read_text()


def test_nothing_else_lies_there() -> None:
    kinds = {path.stem: path.suffix for path in GALLERY.iterdir() if path.suffix != ".py"}
    assert set(kinds) - {"__pycache__"} == {*NAMES, "README"}


@each
def test_the_picture_is_of_the_file_as_it_is(
    name: str, golden: Callable[[Path, str], None]
) -> None:
    _, bug = load.from_file(GALLERY / f"{name}.py")
    golden(GALLERY / f"{name}.svg", first_svg([decide_claim(bug)]))
