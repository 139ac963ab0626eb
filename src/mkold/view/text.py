"""An execution as text for the terminal: threads side by side, then the edges."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from mkold.ir.program import Program
from mkold.lkmm.verdict import Execution
from mkold.view.grid import Box, Link, Picture, picture

_GAP = "   "


def execution_text(
    execution: Execution, program: Program | None = None, title: str = ""
) -> str:
    """``execution`` in plain characters; ``program`` gives names to addresses."""
    return draw_text(picture(execution, program, title))


def draw_text(shown: Picture) -> str:
    """The picture in plain characters, without a final line end."""
    lines = [shown.title, ""] if shown.title else []
    lines += _columns(shown)
    letters = {box.id: box.letter for box in shown.boxes}
    links = [_link(link, letters) for link in shown.links if not link.strong]
    if links:
        lines += ["", "edges: " + ", ".join(links)]
    return "\n".join([*lines, *([""] if shown.notes else []), *shown.notes])


def _columns(shown: Picture) -> Iterator[str]:
    n_rows = 1 + max((box.row for box in shown.boxes), default=-1)
    stacks: list[list[list[str]]] = [[[] for _ in range(n_rows)] for _ in shown.columns]
    for box in shown.boxes:
        stacks[box.column][box.row] = _cell(box)
    heads = list(shown.columns)
    widths = [
        max([len(head), *(len(line) for cell in stack for line in cell)])
        for head, stack in zip(heads, stacks, strict=True)
    ]
    yield _row(heads, widths)
    yield _row(["-" * width for width in widths], widths)
    for cells in zip_longest(*stacks, fillvalue=[]):
        for parts in zip_longest(*cells, fillvalue=""):
            yield _row(list(parts), widths)


def _row(parts: list[str], widths: list[int]) -> str:
    padded = (part.ljust(width) for part, width in zip(parts, widths, strict=False))
    return _GAP.join(padded).rstrip()


def _cell(box: Box) -> list[str]:
    mark = f"   <- {box.mark}" if box.mark in ("freed", "poison", "race", "waits") else ""
    lines = [f"{box.letter}: {box.label}{mark}"]
    if box.source:
        lines.append(f"   {box.source}")
    return lines


def _link(link: Link, letters: dict[int, str]) -> str:
    return f"{letters[link.source]} -{link.relation}-> {letters[link.target]}"
