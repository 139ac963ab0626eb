"""An execution as a graph for Graphviz: one cluster a thread, program order top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from mkold.base.shown import shown
from mkold.view.grid import Box, Picture
from mkold.view.palette import colour

_FILLS = {"init": "#eeeeee", "freed": "#dddddd", "poison": "#ffd6d6", "race": "#ffe2b8",
          "waits": "#ffe2b8"}  # fmt: skip


def draw_dot(picture: Picture) -> str:
    """The picture in the DOT language."""
    return "\n".join(_lines(picture)) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    title = "\\n".join(map(_escape, (picture.title, *picture.notes)))
    yield "digraph execution {"
    yield f'  label="{title}"; labelloc=t; fontname="sans-serif";'
    yield '  node [shape=box, style=filled, fillcolor=white, fontname="monospace"];'
    yield '  edge [fontname="monospace"];'
    for column, name in enumerate(picture.columns):
        boxes = sorted(
            (box for box in picture.boxes if box.column == column), key=lambda box: box.row
        )
        yield f"  subgraph cluster_{column} {{"
        yield f'    label="{_escape(name)}"; color="#bbbbbb";'
        yield from (f"    {_node(box)}" for box in boxes)
        for above, below in pairwise(boxes):
            yield f"    n{above.id} -> n{below.id} [style=dotted, arrowhead=none, weight=9];"
        yield "  }"
    for link in picture.links:
        ink = colour(link.relation)
        width = ", penwidth=2.5" if link.strong else ""
        yield (
            f'  n{link.source} -> n{link.target} [label="{_escape(link.relation)}", '
            f'color="{ink}", fontcolor="{ink}", constraint=false{width}];'
        )
    yield "}"


def _node(box: Box) -> str:
    text = f"{box.letter}: {box.label}" + (f"\n{box.source}" if box.source else "")
    label = "\\n".join(map(_escape, text.split("\n")))
    fill = f', fillcolor="{_FILLS[box.mark]}"' if box.mark else ""
    return f'n{box.id} [label="{label}"{fill}];'


def _escape(text: str) -> str:
    return shown(text, keep="\n").replace("\\", "\\\\").replace('"', '\\"')
