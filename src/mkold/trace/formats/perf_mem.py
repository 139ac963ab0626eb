"""``perf script`` of what ``perf mem record`` sampled.

::

    prog 100 [000] 10.000001: 1 cpu/mem-loads/P: 7ffd00001008 10268100142 |OP LOAD|LVL ...

Known by the data source, ``|OP ``: the word before it is the raw data source, the one before
that the address, and then the name of the event and its period. Only some accesses are
sampled, and of loads those that took long: pages that are seldom used are missing, and so is
most of what a cache served. Samples without an address (0) are left out.

Source: perf-mem(1), perf-script(1); fields in the order perf-script prints them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mkold.trace.accesses import NO_ACCESS, READ, WRITE, Accesses
from mkold.trace.formats import records
from mkold.trace.formats.block import Block
from mkold.trace.formats.reading import Reading

LOOKS = records.search(rb"\|OP [^|\n]*\|LVL ")
SAID = "these are samples, not every access: rates and refaults are those of the samples"
_HINT = "print the address too: perf script -F +addr,+data_src"


def read(chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
    """Parse it; see ``records.read``."""
    return records.read(chunks, reading, _find, _told)


def _find(block: Block, reading: Reading) -> records.Found:
    mark = block.together(block.find(b"|OP"), -2, 1)
    address, what = mark - 2, mark + 1
    number, good = block.hexadecimal(address)
    if not good.all():
        word = address[np.flatnonzero(~good)[0]]
        raise records.wrong_word(block, word, reading, "no address stands here", _HINT)
    kind = np.full(len(mark), READ, np.uint8)
    kind[block.byte(what) == ord("S")] = WRITE
    kind[number == 0] = NO_ACCESS
    unknown = np.flatnonzero(block.byte(what) == ord("N"))
    kind[unknown[block.ends_with(address[unknown] - 1, b"mem-stores/P:")]] = WRITE
    counted = block.together(address, -2, 0) - 2
    period, is_number = block.decimal(counted, 18)
    return records.Found(
        address, kind, np.ones(len(mark), np.uint64), stands_for=int(period[is_number].sum())
    )


def _told(seen: records.Seen) -> list[str]:
    told = [f"{seen.n_records:,} samples"]
    if seen.stands_for > seen.n_records:
        told[0] += (
            f", which stand for {seen.stands_for:,} events by their periods "
            f"(one in {seen.stands_for / max(1, seen.n_records):,.0f})"
        )
    return told
