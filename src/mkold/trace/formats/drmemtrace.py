"""What DynamoRIO's drmemtrace prints with its ``view`` tool.

::

    <--record#-> <--instr#->: <---tid---> <record details>
              5           1:     3256418 ifetch       3 byte(s) @ 0x00007f6fdd3ec360 48 89 e7
              7           3:     3256418 write        8 byte(s) @ 0x00007fff60be5078 by PC 0x...
              8           3:     3256418 <marker: timestamp 13312570674112282>

Older releases print ``T3256418`` and no numbers. Known by ``byte(s) @`` with the kind and the
size before it. Markers, prefetches and flushes are no accesses. Threads stay interleaved as
the tool prints them.

Source: DynamoRIO's documentation of drmemtrace, "Trace view" (releases 9 to 11).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mkold.trace.accesses import FETCH, NO_ACCESS, READ, WRITE, Accesses
from mkold.trace.formats import records
from mkold.trace.formats.block import Block
from mkold.trace.formats.reading import Reading

LOOKS = records.search(rb"\bbyte\(s\) @ 0x|^<--record#-> ")
_KINDS = {b"read": READ, b"write": WRITE, b"ifetch": FETCH}


def read(chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
    """Parse it; see ``records.read``."""
    return records.read(chunks, reading, _find, _told)


def _find(block: Block, reading: Reading) -> records.Found:
    at = block.together(block.find(b"@"), -3, 1)
    at = at[block.is_word(at - 1, b"byte(s)")]
    kind = np.full(len(at), NO_ACCESS, np.uint8)
    for word, number in _KINDS.items():
        kind[block.is_word(at - 3, word)] = number
    size, good = block.decimal(at - 2)
    bad = np.flatnonzero(~good & (kind != NO_ACCESS))
    if len(bad):
        raise records.wrong_word(block, at[bad[0]] - 2, reading, "the size is not a number")
    threads = block.packed(block.together(at, -4, 0) - 4)
    return records.Found(at + 1, kind, size, threads)


def _told(seen: records.Seen) -> list[str]:
    n = len(seen.who)
    return [f"{n} threads, interleaved as the tool printed them"] if n > 1 else []
