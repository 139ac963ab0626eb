"""Pictures of counterexamples: rows, marks, and what a variant put in place of what."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from mkold.check import load
from mkold.check.decide import decide_case, decide_claim
from mkold.check.story.explain import Story, stories
from mkold.view.grid import Picture
from mkold.view.html import first_svg
from mkold.view.route import CHAR, LINE, plan
from mkold.view.story import picture_of
from mkold.view.text import draw_text

EXAMPLE = Path(__file__).parents[2] / "docs/examples/claims.py"
BROKEN = [
    ("config-freed", "no grace period"),
    ("config-freed", "free, then publish"),
    ("config-plain-publish", "WRITE_ONCE"),
]
each = pytest.mark.parametrize(("name", "label"), BROKEN)


@cache
def shown(name: str, label: str) -> tuple[Story, Picture]:
    (claim,) = load.select(load.from_file(EXAMPLE), [name])
    case = next(case for case in claim.cases if case.label == label)
    story = stories(decide_case(case).breaches)[0][1]
    assert story is not None
    return story, picture_of(story, name)


@each
def test_rows_are_time_where_there_is_one(name: str, label: str) -> None:
    story, found = shown(name, label)
    rows = [box.row for box in found.boxes]
    if story.timed:
        assert rows == list(range(len(rows)))
    else:
        for column in range(len(found.columns)):
            stack = [box.row for box in found.boxes if box.column == column]
            assert stack == list(range(len(stack)))
    assert [box.letter for box in found.boxes] == [story.letter(i) for i in story.order]


def test_both_layouts_are_met() -> None:
    assert {shown(name, label)[0].timed for name, label in BROKEN} == {True, False}


@each
def test_nothing_lies_on_a_box(name: str, label: str) -> None:
    laid = plan(shown(name, label)[1], 40)
    for path, placed in itertools.product(laid.paths, laid.boxes):
        x, y = path.label
        half = len(path.link.relation) * CHAR / 2
        beside = x + half <= placed.x or x - half >= placed.x + placed.width
        apart = y + LINE / 2 <= placed.y or y - LINE / 2 >= placed.y + placed.height
        assert beside or apart, (path.link, placed.box)
    for one, other in itertools.combinations(laid.boxes, 2):
        level = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert level or one.x + one.width <= other.x or other.x + other.width <= one.x


@each
def test_every_box_names_its_line(name: str, label: str) -> None:
    for box in shown(name, label)[1].boxes:
        assert box.source.startswith("claims.py:")


def test_freed_and_poison_are_marked() -> None:
    marks = {box.label: box.mark for box in shown("config-freed", "no grace period")[1].boxes}
    assert marks["W[plain] old.width = POISON"] == "freed"
    assert marks["R[once] old.width = POISON"] == "poison"


def test_a_replaced_primitive_is_named() -> None:
    sources = [box.source for box in shown("config-plain-publish", "WRITE_ONCE")[1].boxes]
    assert any("WRITE_ONCE for rcu_assign_pointer(" in source for source in sources)


def test_words_are_notes_unless_they_stand_elsewhere() -> None:
    story, found = shown("config-freed", "no grace period")
    assert found.notes == story.words
    assert not picture_of(story, words=False).notes


def test_text_leaves_a_gap_where_another_thread_is_at_work() -> None:
    _, found = shown("config-freed", "no grace period")
    lines = draw_text(replace(found, title="", notes=())).splitlines()
    boxes = [line for line in lines if line.lstrip()[:2] in {f"{c}:" for c in "abcdefghij"}]
    assert len(boxes) == len(found.boxes)
    assert {line.startswith(" ") for line in boxes} == {True, False}


def test_a_picture_alone_says_what_is_broken() -> None:
    (claim,) = load.select(load.from_file(EXAMPLE), ["config-plain-publish"])
    torn = replace(claim.cases[0], only=frozenset({"torn"}))
    drawn = first_svg([decide_claim(replace(claim, cases=(torn,)))])
    sentence = "The reader multiplies a width and a height of two configs."
    assert sentence in re.sub(r"<.*?>|\n", " ", drawn)
