"""Small stacked charts in the terminal: amounts over time, one column a moment.

A cell shows the layer that lies at its middle. Layers are drawn from the bottom up in the
order given; each has a glyph of its own, so that the picture reads without colour too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its name in the legend, its glyphs (any terminal, ASCII), its colour."""

    name: str
    glyph: str
    ascii: str
    colour: str


def resample(samples: Sequence[Sequence[int]], width: int) -> list[tuple[int, ...]]:
    """At most ``width`` samples, evenly chosen; each as long as the first."""
    if not samples:
        return []
    n = min(width, len(samples))
    return [tuple(samples[i * len(samples) // n]) for i in range(n)]


def stacked_cells(
    samples: Sequence[Sequence[int]], *, height: int, total: int
) -> list[list[int]]:
    """Rows of cells, top row first; a cell is the layer's index, or -1 above the stack.

    Parameters
    ----------
    samples : per column, the amount in each layer, bottom layer first
    height : rows
    total : the amount that fills the whole height
    """
    rows = []
    for row in range(height):
        level = (height - row - 0.5) * total / height
        rows.append([_layer_at(column, level) for column in samples])
    return rows


def _layer_at(column: Sequence[int], level: float) -> int:
    top = 0
    for index, amount in enumerate(column):
        top += amount
        if level < top:
            return index
    return -1


def draw_stacked(
    samples: Sequence[Sequence[int]],
    layers: Sequence[Layer],
    *,
    total: int,
    height: int = 6,
    width: int = 60,
    colour: bool = False,
    unicode: bool = True,
) -> list[str]:
    """The chart's lines, ``height`` of them, without axes.

    Parameters
    ----------
    samples : per moment, the amount in each layer, bottom layer first
    layers : as many as the amounts
    total : the amount that fills the whole height
    """
    cells = stacked_cells(resample(samples, width), height=height, total=max(1, total))
    return ["".join(_cell(index, layers, colour, unicode) for index in row) for row in cells]


def legend(layers: Sequence[Layer], *, colour: bool = False, unicode: bool = True) -> str:
    """One line naming each layer beside its glyph."""
    return "  ".join(
        f"{_cell(index, layers, colour, unicode)} {layer.name}"
        for index, layer in enumerate(layers)
    )


def _cell(index: int, layers: Sequence[Layer], colour: bool, unicode: bool) -> str:
    if index < 0:
        return " "
    layer = layers[index]
    glyph = layer.glyph if unicode else layer.ascii
    return f"\x1b[{layer.colour}m{glyph}\x1b[0m" if colour else glyph
