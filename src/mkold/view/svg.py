"""An execution as a self-contained SVG, for light and dark grounds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from mkold.base.shown import xml
from mkold.ir.program import Program
from mkold.lkmm.verdict import Execution
from mkold.view.grid import Picture, picture
from mkold.view.palette import KINDS, kind, shade
from mkold.view.route import CHAR, LINE, MARGIN, PAD, Placed, Plan, Wire, plan

_RADIUS = 5.0
_HEAD = 26.0
_FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def execution_svg(execution: Execution, program: Program | None = None, title: str = "") -> str:
    """``execution`` as SVG; ``program`` gives names to addresses."""
    return draw_svg(picture(execution, program, title))


def draw_svg(shown: Picture) -> str:
    """The picture as SVG text."""
    wrapped = 88
    title = textwrap.wrap(shown.title, wrapped, break_on_hyphens=False)
    notes = [
        line
        for note in shown.notes
        for line in textwrap.wrap(note, wrapped, break_on_hyphens=False)
    ]
    top = MARGIN + LINE * len(title) + _HEAD
    layout = plan(shown, top)
    longest = max(map(len, [*title, *notes]), default=0)
    width = max(layout.width, longest * CHAR + 2 * MARGIN) + MARGIN
    height = layout.height + LINE * len(notes) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{xml(shown.title, quote=True)}">',
        f"<style>{_style()}</style>",
        f'<rect class="ground" width="{width:.0f}" height="{height:.0f}"/>',
        *_prose(title, MARGIN + LINE * 0.75, "title"),
        *_heads(shown, layout, top),
        *(line for path in reversed(layout.paths) for line in _path(path)),
        *(line for box in layout.boxes for line in _box(box)),
        *(_label(path) for path in layout.paths),
        *_prose(notes, layout.height + LINE * 0.75, "note"),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _style() -> str:
    def rules(*, dark: bool) -> str:
        ground, ink, fill, line, soft = (
            ("#15181c", "#e6e6e6", "#20252b", "#6b7480", "#a3adb8")
            if dark
            else ("#ffffff", "#1b1f24", "#f6f8fa", "#8a929b", "#616a74")
        )
        freed, bad = ("#3a3f46", "#5a2526") if dark else ("#d9dde2", "#ffd9d6")
        base = (
            f".ground{{fill:{ground}}}text{{fill:{ink}}}.soft{{fill:{soft}}}"
            f".box{{fill:{fill};stroke:{line}}}.freed{{fill:{freed}}}"
            f".poison,.race,.waits{{fill:{bad}}}.init{{fill:{ground}}}.spine{{stroke:{line}}}"
            f".label{{stroke:{ground}}}"
        )
        for name in KINDS:
            hue = shade(name, dark=dark)
            base += f".l-{name}{{stroke:{hue}}}.t-{name}{{fill:{hue}}}"
        return base

    return (
        f"text{{font:12px {_FONT}}}.title{{font-weight:bold}}.head{{font-weight:bold}}"
        ".box{stroke-width:1}.link{fill:none;stroke-width:1.2}.strong{stroke-width:2.6}"
        ".label{font-size:12px;text-anchor:middle;paint-order:stroke;stroke-width:4;"
        "stroke-linejoin:round}.spine{stroke-dasharray:2 3}"
        + rules(dark=False)
        + "@media(prefers-color-scheme:dark){"
        + rules(dark=True)
        + "}"
    )


def _prose(lines: list[str], y: float, css: str) -> Iterator[str]:
    for i, line in enumerate(lines):
        at = f'x="{MARGIN:.0f}" y="{y + LINE * i:.1f}"'
        yield f'<text class="{css}" {at}>{xml(line)}</text>'


def _heads(shown: Picture, layout: Plan, top: float) -> Iterator[str]:
    for name, x in zip(shown.columns, layout.heads, strict=True):
        yield (
            f'<text class="head" text-anchor="middle" x="{x:.1f}" y="{top - PAD:.1f}">'
            f"{xml(name)}</text>"
        )
    for column, x in enumerate(layout.heads):
        stack = [placed for placed in layout.boxes if placed.box.column == column]
        if len(stack) > 1 and shown.columns[column] != "initially":
            low = min(placed.y for placed in stack)
            high = max(placed.y for placed in stack)
            yield f'<path class="spine" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'


def _box(placed: Placed) -> Iterator[str]:
    box, x, y = placed.box, placed.x, placed.y
    css = f"box {box.mark}".strip()
    yield (
        f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{placed.width:.1f}" '
        f'height="{placed.height:.1f}" rx="4"/>'
    )
    lines = 2 if box.source else 1
    first = y + placed.height / 2 - (lines - 1) * LINE / 2 + 4
    label = xml(f"{box.letter}: {box.label}")
    yield f'<text x="{x + PAD:.1f}" y="{first:.1f}">{label}</text>'
    if box.source:
        yield (
            f'<text class="soft" x="{x + PAD:.1f}" y="{first + LINE:.1f}">'
            f"{xml(box.source)}</text>"
        )
    if box.mark in ("freed", "poison", "race", "waits"):
        yield (
            f'<text class="soft" text-anchor="end" x="{x + placed.width - 3:.1f}" '
            f'y="{y - 2:.1f}">{box.mark}</text>'
        )


def _path(path: Wire) -> Iterator[str]:
    css = f"l-{kind(path.link.relation)}"
    strong = " strong" if path.link.strong else ""
    yield f'<path class="link {css}{strong}" d="{_rounded(path.points)}"/>'
    (x0, _), (x1, y1) = path.points[-2:]
    back = 8.0 if x1 < x0 else -8.0
    yield (
        f'<path class="t-{kind(path.link.relation)}" d="M{x1:.1f} {y1:.1f}l{back:.1f} -4v8z"/>'
    )


def _rounded(points: tuple[tuple[float, float], ...]) -> str:
    """A path through the points, its corners rounded."""
    text = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(_RADIUS, _length(before, here) / 2, _length(here, after) / 2)
        a, b = _towards(here, before, radius), _towards(here, after, radius)
        text += f"L{a[0]:.1f} {a[1]:.1f}Q{here[0]:.1f} {here[1]:.1f} {b[0]:.1f} {b[1]:.1f}"
    return text + f"L{points[-1][0]:.1f} {points[-1][1]:.1f}"


def _length(a: tuple[float, float], b: tuple[float, float]) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _towards(
    start: tuple[float, float], end: tuple[float, float], by: float
) -> tuple[float, float]:
    length = _length(start, end) or 1.0
    part = by / length
    return start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part


def _label(path: Wire) -> str:
    x, y = path.label
    return (
        f'<text class="label t-{kind(path.link.relation)}" x="{x:.1f}" y="{y + 4:.1f}">'
        f"{xml(path.link.relation)}</text>"
    )
