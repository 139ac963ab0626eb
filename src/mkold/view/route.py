"""Where boxes stand and how links run between them, in pixels.

Columns stand apart by gutters, rows by channels. A link leaves its box sideways into a
gutter, runs there on a lane of its own, and enters its target sideways; between columns
that are not neighbours it crosses over in a channel between two rows. So no link and no
label ever lies on a box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mkold.view.grid import Box, Link, Picture

CHAR = 7.25  # width of a monospace character at 12 px
LINE = 16.0
PAD = 8.0
LANE = 15.0
SLOT = 9.0
LABEL = 14.0  # height that a label needs
MARGIN = 14.0
_MIN_GUTTER = 34.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A box with its place: left, top, width, height."""

    box: Box
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Wire:
    """A link with its corners and the middle of its label."""

    link: Link
    points: tuple[tuple[float, float], ...]
    label: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that ``svg`` draws; ``heads`` are the columns' middles."""

    width: float
    height: float
    boxes: tuple[Placed, ...]
    paths: tuple[Wire, ...]
    heads: tuple[float, ...]


@dataclass(slots=True)
class _Run:
    """A link's way: the gutters it runs in and the channel it crosses in, if any."""

    link: Link
    source: Box
    target: Box
    first: int  # gutter beside the source; gutter i lies left of column i
    last: int  # gutter beside the target
    channel: int = -1  # above this row
    y_source: float = 0.0
    y_target: float = 0.0
    lanes: dict[bool, int] = field(default_factory=dict)  # at the source: True
    crossing: int = 0


def plan(picture: Picture, top: float) -> Plan:
    """Place the boxes below ``top`` and route the links."""
    runs = [_run(picture, link) for link in picture.links]
    n_rows = 1 + max((box.row for box in picture.boxes), default=0)
    slots = _slots(runs)
    heights = [
        max(2 * LINE + PAD, SLOT * (1 + max((len(s) for (r, _), s in slots.items() if r == row),
                                            default=0)))
        for row in range(n_rows)
    ]  # fmt: skip
    crossings = _crossings(runs)
    tops = _stack(top, heights, [crossings[row] for row in range(n_rows + 1)])
    _set_heights(runs, slots, tops, heights)
    lanes = _lanes(runs, len(picture.columns), tops)
    gutters = [
        max(_MIN_GUTTER if 0 < g < len(picture.columns) else MARGIN, _gutter(runs, g, n))
        for g, n in enumerate(lanes)
    ]
    widths = [_width(picture, column) for column in range(len(picture.columns))]
    lefts = _lefts(gutters, widths)
    boxes = tuple(
        Placed(box, lefts[box.column], tops[box.row], widths[box.column], heights[box.row])
        for box in picture.boxes
    )
    starts = [0.0, *(left + width for left, width in zip(lefts, widths, strict=True))]
    paths = _paths(runs, starts, gutters, lanes, lefts, widths, tops)
    heads = tuple(left + width / 2 for left, width in zip(lefts, widths, strict=True))
    right = max(
        [
            starts[-1] + gutters[-1],
            *(p.label[0] + len(p.link.relation) * CHAR / 2 for p in paths),
        ]
    )
    bottom = tops[-1]
    return Plan(right, bottom, boxes, paths, heads)


def _run(picture: Picture, link: Link) -> _Run:
    by_id = {box.id: box for box in picture.boxes}
    source, target = by_id[link.source], by_id[link.target]
    if source.column < target.column:
        first, last = source.column + 1, target.column
    elif source.column > target.column:
        first, last = source.column, target.column + 1
    else:
        # The first column keeps its own links to its left, out of the way of the others.
        alone = len(picture.columns) == 1
        first = last = source.column + (1 if source.column or alone else 0)
    channel = (
        -1
        if first == last
        else max(source.row, target.row) + (0 if source.row != target.row else 1)
    )
    return _Run(link, source, target, first, last, channel)


_Slots = dict[tuple[int, int], list[_Run]]


def _slots(runs: Iterable[_Run]) -> _Slots:
    """Links that end in a row beside a gutter, each once: they share the box's side."""
    slots: _Slots = defaultdict(list)
    for run in runs:
        for key in {(run.source.row, run.first), (run.target.row, run.last)}:
            slots[key].append(run)
    for (row, _), members in slots.items():
        members.sort(key=lambda run, row=row: _other_row(run, row))  # type: ignore[misc]
    return slots


def _other_row(run: _Run, row: int) -> int:
    return run.target.row if run.source.row == row else run.source.row


def _crossings(runs: Iterable[_Run]) -> dict[int, int]:
    """How many links cross in each channel; numbers them."""
    count: dict[int, int] = defaultdict(int)
    for run in runs:
        if run.channel >= 0:
            run.crossing = count[run.channel]
            count[run.channel] += 1
    return count


def _stack(top: float, heights: list[float], crossings: list[int]) -> list[float]:
    """The top of each row, and at last the bottom of the picture."""
    tops, y = [], top
    for height, crossing in zip(heights, crossings, strict=False):
        y += PAD + LANE * crossing + (PAD if crossing else 0)
        tops.append(y)
        y += height + PAD
    return [*tops, y + LANE * crossings[-1] + PAD]


def _set_heights(
    runs: list[_Run], slots: _Slots, tops: list[float], heights: list[float]
) -> None:
    """Where each link leaves and enters."""
    for (row, gutter), members in slots.items():
        step = heights[row] / (len(members) + 1)
        for i, run in enumerate(members):
            y = tops[row] + step * (i + 1)
            if run.source.row == row and run.first == gutter:
                run.y_source = y
            if run.target.row == row and run.last == gutter:
                run.y_target = y
    for run in runs:
        same_side = run.source.row == run.target.row and run.first == run.last
        if same_side and run.source.id == run.target.id:
            run.y_target += SLOT / 2


def _spans(run: _Run, gutter: int, tops: list[float]) -> list[tuple[float, float, bool]]:
    """Stretches of the link on a lane of ``gutter``: ``(low, high, at its source)``."""
    cross = _channel_y(run, tops)
    if run.channel < 0:
        return [(run.y_source, run.y_target, True)] if run.first == gutter else []
    found = []
    if run.first == gutter:
        found.append((run.y_source, cross, True))
    if run.last == gutter:
        found.append((run.y_target, cross, False))
    return found


def _channel_y(run: _Run, tops: list[float]) -> float:
    if run.channel < 0:
        return 0.0
    return tops[run.channel] - PAD - LANE * run.crossing - LANE / 2


def _lanes(runs: list[_Run], n_columns: int, tops: list[float]) -> list[int]:
    """Give every link its lanes; the number of lanes of each gutter."""
    counts = []
    for gutter in range(n_columns + 1):
        wanted = [
            (min(a, b), max(a, b), run, first)
            for run in runs
            for a, b, first in _spans(run, gutter, tops)
        ]
        lanes: list[list[tuple[float, float]]] = []
        for low, high, run, first in sorted(wanted, key=lambda item: item[1] - item[0]):
            lane = _free_lane(lanes, low - LABEL, high + LABEL)
            run.lanes[first] = lane
        counts.append(len(lanes))
    return counts


def _free_lane(lanes: list[list[tuple[float, float]]], low: float, high: float) -> int:
    for i, taken in enumerate(lanes):
        if all(high <= a or low >= b for a, b in taken):
            taken.append((low, high))
            return i
    lanes.append([(low, high)])
    return len(lanes) - 1


def _gutter(runs: Iterable[_Run], gutter: int, n_lanes: int) -> float:
    """Room for the lanes and the widest label."""
    widest = max(
        (len(run.link.relation) * CHAR for run in runs if gutter in (run.first, run.last)),
        default=0.0,
    )
    return 2 * PAD + max(LANE * (n_lanes + 1), widest + LANE) if n_lanes else 0.0


def _width(picture: Picture, column: int) -> float:
    texts = [picture.columns[column]]
    for box in picture.boxes:
        if box.column == column:
            texts += [f"{box.letter}: {box.label}", box.source]
    return max(map(len, texts)) * CHAR + 2 * PAD


def _lefts(gutters: list[float], widths: list[float]) -> list[float]:
    lefts, x = [], 0.0
    for gutter, width in zip(gutters, widths, strict=False):
        x += gutter
        lefts.append(x)
        x += width
    return lefts


def _paths(
    runs: list[_Run], starts: list[float], gutters: list[float], lanes: list[int],
    lefts: list[float], widths: list[float], tops: list[float],
) -> tuple[Wire, ...]:  # fmt: skip
    taken: list[tuple[float, float, float]] = []
    paths = []

    def lane_x(gutter: int, lane: int) -> float:
        step = gutters[gutter] / (lanes[gutter] + 1)
        return starts[gutter] + step * (lane + 1)

    def side(box: Box, gutter: int) -> float:
        return lefts[box.column] + (widths[box.column] if gutter > box.column else 0.0)

    for run in sorted(runs, key=lambda run: not run.link.strong):
        a = (side(run.source, run.first), run.y_source)
        b = (side(run.target, run.last), run.y_target)
        x = lane_x(run.first, run.lanes[True])
        points = [a, (x, run.y_source)]
        if run.channel < 0:
            points += [(x, run.y_target), b]
            low, high = sorted((run.y_source, run.y_target))
        else:
            cross = _channel_y(run, tops)
            other = lane_x(run.last, run.lanes[False])
            points += [(x, cross), (other, cross), (other, run.y_target), b]
            low, high = sorted((run.y_source, cross))
        width = len(run.link.relation) * CHAR
        middle = starts[run.first] + gutters[run.first] / 2
        limit = max(0.0, (gutters[run.first] - width) / 2 - 1)
        center = max(x, middle - limit)
        if run.first < len(gutters) - 1:  # right of the last column there is room
            center = min(center, middle + limit)
        wanted = (low + high) / 2 if high - low > LABEL else low - LABEL / 2
        y = _free_height(taken, center, width, wanted)
        taken.append((center, width, y))
        paths.append(Wire(run.link, tuple(points), (center, y)))
    return tuple(paths)


def _free_height(
    taken: list[tuple[float, float, float]], x: float, width: float, wanted: float
) -> float:
    """The height nearest ``wanted`` at which a label meets no other."""
    for distance in range(60):
        for sign in (1, -1):
            y = wanted + sign * distance * 4
            if all(
                abs(y - other_y) >= LABEL or abs(x - other_x) >= (width + other_width) / 2 + 3
                for other_x, other_width, other_y in taken
            ):
                return y
    return wanted
