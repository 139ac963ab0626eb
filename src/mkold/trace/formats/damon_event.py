"""DAMON's trace event, as ``perf script``, ``trace-cmd report`` and ftrace print it.

::

    kdamond.0 42 [0] 8.3: damon:damon_aggregated: target_id=0 nr_regions=17 4096-8192: 3 12

A line is a region: its first and last byte (in decimal), how often it was found used, and for
how long it has been so. ``nr_regions`` lines that follow one another are a snapshot. A trace is
drawn as it is from DAMON's reports (``damon``).

Source: ``events/damon/damon_aggregated/format`` of Linux 5.15 to 6.12.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mkold.trace.accesses import Accesses
from mkold.trace.formats import records, synthetic
from mkold.trace.formats.block import Block
from mkold.trace.formats.damon import told
from mkold.trace.formats.reading import Reading, blocks
from mkold.trace.formats.synthetic import Scene
from mkold.trace.schema import PAGE_SHIFT, PAGE_SIZE, U64

LOOKS = records.search(rb"damon_aggregated: target_id=")
_SEPARATORS = b"=:-"
_WORDS = (b"target_id", b"nr_regions")  # each followed by its number


def read(chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
    """Draw a trace from what is said.

    Raises
    ------
    SourceError : a line of a region is damaged
    """
    scenes: list[Scene] = []
    regions: list[U64] = []  # of the snapshot that is not whole yet, as rows
    left = 0
    for text in blocks(chunks, reading):
        rows = _rows(Block(text, _SEPARATORS), reading)
        at = 0
        while at < len(rows):
            if not left:
                left = max(1, int(rows[at, 0]))
            end = min(len(rows), at + left)
            regions.append(rows[at:end])
            left -= end - at
            at = end
            if not left:
                scenes.append(_scene(np.concatenate(regions)))
                regions = []
    if regions:
        scenes.append(_scene(np.concatenate(regions)))
    told(scenes, reading)
    yield from synthetic.draw(scenes, reading.seed)


def _rows(block: Block, reading: Reading) -> U64:
    """By line: regions of its snapshot, first byte, byte after the last, times found used."""
    event = block.find(b"damon_aggregated")
    good = np.isin(event, block.together(event, 0, 7), assume_unique=True)
    found = np.zeros((len(event), 4), np.uint64)
    for at, name in enumerate(_WORDS):
        good[good] = block.is_word(event[good] + 1 + 2 * at, name)
    for column, word in enumerate((4, 5, 6, 7)):
        mine = np.flatnonzero(good)
        found[mine, column], good[mine] = block.decimal(event[mine] + word, 19)
    good &= found[:, 1] < found[:, 2]
    if not good.all():
        word = event[np.flatnonzero(~good)[0]]
        reason = "this is not a region as DAMON prints it"
        raise records.wrong_word(block, word, reading, reason)
    return found


def _scene(rows: U64) -> Scene:
    used = rows[(rows[:, 3] > 0)]
    first = used[:, 1] >> np.uint64(PAGE_SHIFT)
    end = (used[:, 2] + np.uint64(PAGE_SIZE - 1)) >> np.uint64(PAGE_SHIFT)
    return Scene(first, end - first, used[:, 3].astype(np.float64))
