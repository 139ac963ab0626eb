"""CSV with mkold's columns, or such as mean the same (``rows``), and a line of their names.

::

    page,write,run
    0,false,12
    7,true,1

Commas, semicolons and tabs part columns; quotes round numbers and words are passed over.
Numbers are decimal, or hexadecimal with ``0x``. A write is ``1``, ``true`` or a word for one
(``W``, ``store``), as in the traces of one access a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from mkold.base.errors import SourceError
from mkold.base.shown import shown
from mkold.trace.accesses import READ, UNKNOWN, WRITE, Accesses
from mkold.trace.formats import rows
from mkold.trace.formats.block import Block, Index, Mask, packed
from mkold.trace.formats.kind_address import KINDS
from mkold.trace.formats.reading import Reading, blocks
from mkold.trace.schema import U8, U64

SEPARATORS = b",;\"'"
_TRUTH = {
    **dict.fromkeys((b"0", b"false", b"False", b"FALSE", b"f"), READ),
    **dict.fromkeys((b"1", b"true", b"True", b"TRUE", b"t"), WRITE),
    **{word: kind for word, kind in KINDS.items() if kind in (READ, WRITE)},
}


def looks(head: bytes, lines: list[bytes]) -> bool:
    """Whether the first line names columns of a trace."""
    return bool(lines) and rows.columns(_names(lines[0])) is not None


def _names(line: bytes) -> list[str]:
    return [word.decode("ascii", "replace") for word in re.split(rb"[,;\t]", line)]


def read(chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
    """Parse it, at most a block at a time.

    Raises
    ------
    SourceError : a row is not what the names say
    """
    found: dict[str, int] | None = None
    n_columns = 0
    for text in blocks(chunks, reading):
        block = Block(text, SEPARATORS)
        lines = np.flatnonzero(block.n_words())
        lines = lines[block.byte(block.first[lines]) != ord("#")]
        if found is None and len(lines):
            names = _names(block.line(int(lines[0])).strip())
            found, n_columns = rows.columns(names), len(names)
            lines = lines[1:]
            left = [name for at, name in enumerate(names) if at not in (found or {}).values()]
            if left:
                listed = ", ".join(shown(name, most=40) for name in left[:8])
                reading.notes.append(f"columns that are not taken: {listed}")
        if found and len(lines):
            yield _rows(block, lines, found, n_columns, reading)


def _rows(
    block: Block, lines: Index, found: dict[str, int], n_columns: int, reading: Reading
) -> Accesses:
    short = np.flatnonzero(block.n_words()[lines] != n_columns)
    if len(short):
        at = int(lines[short[0]])
        reason = f"this row has not {n_columns} values, as the names above have"
        raise reading.wrong(at, block.line(at), 1, reason)
    first = block.first[lines]
    is_address = "page" not in found
    at = found["address" if is_address else "page"]
    place, good = _numbers(block, first + at)
    _refuse(block, first + at, good, reading, "this is no page or address")
    at = found.get("write", found.get("kind", 0))
    write = _truth(block, first + at)
    _refuse(block, first + at, write != UNKNOWN, reading, "this says neither read nor write")
    run = np.ones(len(lines), np.uint64)
    if "run" in found:
        run, good = _numbers(block, first + found["run"])
        _refuse(block, first + found["run"], good, reading, "this is no number")
    bad = rows.wrong(place, is_address, run)
    if len(bad):
        at = int(lines[bad[0]])
        reason = "the page is above what 64 bits address, or the run is 0 or too long"
        raise reading.wrong(at, block.line(at), 1, reason)
    return rows.accesses(place, is_address, (write == WRITE).astype(np.uint8), run)


def _numbers(block: Block, words: Index) -> tuple[U64, Mask]:
    number, good = block.decimal(words, 19)
    marked = np.flatnonzero(~good)
    if len(marked):
        marked = marked[(block.length(words[marked]) > 2)]
        marked = marked[(block.byte(words[marked], 1) | 32) == ord("x")]
        number[marked], good[marked] = block.hexadecimal(words[marked])
    return number, good


def _truth(block: Block, words: Index) -> U8:
    found = np.full(len(words), UNKNOWN, np.uint8)
    text, length = block.packed(words), block.length(words)
    for word, kind in _TRUTH.items():
        found[(text == packed(word)) & (length == len(word))] = kind
    return found


def _refuse(block: Block, words: Index, good: Mask, reading: Reading, reason: str) -> None:
    if good.all():
        return
    word = int(words[np.flatnonzero(~good)[0]])
    at = int(block.line_of(np.array([word]))[0])
    raw = block.line(at)
    begin = int(block.line_end[at]) - len(raw)
    error: SourceError = reading.wrong(at, raw, int(block.start[word]) - begin + 1, reason)
    raise error
