"""Pictures of executions: the layout, and the three drawers."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
import view_executions

from mkold.lkmm.verdict import Execution
from mkold.view.dot import draw_dot
from mkold.view.grid import Picture, picture
from mkold.view.palette import KINDS, colour, kind
from mkold.view.route import CHAR, LINE, plan
from mkold.view.svg import draw_svg, execution_svg
from mkold.view.text import draw_text, execution_text

GOLDEN = Path(__file__).parent / "golden"
MAKERS = [
    view_executions.message_passing,
    view_executions.iriw,
    view_executions.use_after_free,
]
each_execution = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
Make = Callable[[], Execution]


def shown(make: Make) -> Picture:
    return picture(make(), None, make.__name__)


def test_columns_are_threads_and_rows_program_order() -> None:
    found = shown(view_executions.message_passing)
    assert found.columns == ("P0", "P1")
    assert [(box.letter, box.column, box.row) for box in found.boxes] == [
        ("a", 0, 0), ("b", 0, 1), ("c", 0, 2), ("d", 1, 0), ("e", 1, 1), ("f", 1, 2),
    ]  # fmt: skip


def test_a_cycle_is_strong_and_said_in_words() -> None:
    found = shown(view_executions.message_passing)
    assert {link.relation for link in found.links if link.strong} == {
        "rfe", "rmb", "fre", "wmb",
    }  # fmt: skip
    assert "axiom: happens-before" in found.notes
    assert "cycle: c -hb-> d -hb-> f -hb-> c" in found.notes


def test_rf_is_not_drawn_beside_rfe() -> None:
    found = shown(view_executions.message_passing)
    assert "rf" not in {link.relation for link in found.links}


def test_initial_writes_appear_only_where_needed() -> None:
    execution = view_executions.message_passing()
    assert "initially" not in picture(execution).columns
    cycle = view_executions.message_passing()
    raced = type(cycle)(cycle.threads, cycle.events, cycle.edges, race=(0, 6))
    assert picture(raced).columns[0] == "initially"


def test_freed_and_poisoned_are_marked() -> None:
    marks = {box.label: box.mark for box in shown(view_executions.use_after_free).boxes}
    assert marks["W[plain] node.key = POISON"] == "freed"
    assert marks["R[plain] node.key = POISON"] == "poison"


@each_execution
def test_no_label_and_no_link_lies_on_a_box(make: Make) -> None:
    found = plan(shown(make), 40)
    for path in found.paths:
        x, y = path.label
        half = len(path.link.relation) * CHAR / 2
        for box in found.boxes:
            clear = (
                x + half <= box.x
                or x - half >= box.x + box.width
                or y + LINE / 2 <= box.y
                or y - LINE / 2 >= box.y + box.height
            )
            assert clear, (path.link, box.box)
            for a, b in itertools.pairwise(path.points):
                assert not crosses(a, b, box.x, box.y, box.width, box.height)


def crosses(
    a: tuple[float, float], b: tuple[float, float],
    x: float, y: float, width: float, height: float,
) -> bool:  # fmt: skip
    """Whether an upright or level stretch runs through the inside of a box."""
    inside_x = min(a[0], b[0]) < x + width - 0.01 and max(a[0], b[0]) > x + 0.01
    inside_y = min(a[1], b[1]) < y + height - 0.01 and max(a[1], b[1]) > y + 0.01
    return inside_x and inside_y


@each_execution
def test_labels_do_not_meet(make: Make) -> None:
    paths = plan(shown(make), 40).paths
    for one, other in itertools.combinations(paths, 2):
        (x0, y0), (x1, y1) = one.label, other.label
        apart = (len(one.link.relation) + len(other.link.relation)) * CHAR / 2
        assert abs(x0 - x1) >= apart or abs(y0 - y1) >= 12


@each_execution
def test_svg_is_well_formed_and_self_contained(make: Make) -> None:
    text = draw_svg(shown(make))
    root = ElementTree.fromstring(text)
    width = float(root.attrib["width"])
    height = float(root.attrib["height"])
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        if rect.attrib["class"].startswith("box"):
            assert float(rect.attrib["x"]) + float(rect.attrib["width"]) <= width
            assert float(rect.attrib["y"]) + float(rect.attrib["height"]) <= height
    assert "prefers-color-scheme:dark" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_svg_escapes_what_it_is_given() -> None:
    text = execution_svg(view_executions.iriw(), title='<a & "b">')
    assert ElementTree.fromstring(text).attrib["aria-label"] == '<a & "b">'


@each_execution
def test_text(make: Make, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / f"{make.__name__}.txt", draw_text(shown(make)) + "\n")


@each_execution
def test_dot(make: Make, golden: Callable[[Path, str], None]) -> None:
    text = draw_dot(shown(make))
    assert text.count("{") == text.count("}")
    golden(GOLDEN / f"{make.__name__}.dot", text)


def test_text_without_title_starts_with_the_columns() -> None:
    assert execution_text(view_executions.iriw()).startswith("P0 ")


def test_every_kind_has_a_colour_for_both_grounds() -> None:
    for relation in ("rf", "co", "fr", "addr", "po", "rcu-link"):
        assert kind(relation) in KINDS
        assert colour(relation) != colour(relation, dark=True)
