"""Parquet with mkold's columns, or such as mean the same (``rows``), but not written by mkold.

Its columns are read in a process of its own, as those of a trace are (``mkold.trace.columns``):
the library breaks down on some damaged files. Rows come back through a file, a slice at a time:
place, run and write, each an array.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np

from mkold.base import child, memory
from mkold.base.errors import InputError, MkoldError
from mkold.base.shown import shown
from mkold.trace.accesses import Accesses
from mkold.trace.formats import rows
from mkold.trace.formats.reading import Reading
from mkold.trace.parquet import METADATA_KEY

MAGIC = b"PAR1"
SLICE = 1 << 22
_FOR_SHOW = 2 << 30  # address space that libraries map and don't use
_READ = "mkold.trace.formats.parquet_rows:read"


def has_header(file: IO[bytes]) -> bool | None:
    """Whether it is Parquet with a header of mkold's; None where its end is damaged."""
    file.seek(0)
    if file.read(4) != MAGIC:
        return False
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 8))
    length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
    if magic != MAGIC or length > end - 12:
        return None
    file.seek(end - 8 - length)
    return METADATA_KEY.encode() in file.read(length)


def looks(head: bytes, lines: list[bytes]) -> bool:
    """Whether it is Parquet."""
    return head.startswith(MAGIC)


def read(chunks: Iterable[bytes], reading: Reading) -> Iterator[Accesses]:
    """Its rows, a slice at a time.

    Raises
    ------
    InputError : damaged, or without such columns
    LimitError : a slice of it needs more memory than there is
    """
    with tempfile.TemporaryFile() as copy, tempfile.TemporaryFile() as target:
        for chunk in chunks:
            copy.write(chunk)
        copy.flush()
        if has_header(copy):
            name = shown(reading.name, most=200)
            raise InputError(
                f"{name} is a trace of mkold's already: mkold run takes it as it is"
            )
        start, n = 0, SLICE
        while n == SLICE:
            answer = _ask(copy.fileno(), target.fileno(), start, reading)
            n, is_address = int(answer["n_rows"]), bool(answer["is_address"])
            target.seek(0)
            place, run = (np.fromfile(target, np.uint64, n) for _ in range(2))
            write = np.fromfile(target, np.uint8, n)
            bad = rows.wrong(place, is_address, run)
            if len(bad):
                raise InputError(
                    f"{shown(reading.name, most=200)}: row {start + int(bad[0]) + 1:,}: "
                    "the page is above what 64 bits address, or the run is 0 or too long"
                )
            yield rows.accesses(place, is_address, write, run)
            start += n


def _ask(source: int, target: int, start: int, reading: Reading) -> dict[str, Any]:
    os.ftruncate(target, 0)
    os.lseek(target, 0, os.SEEK_SET)
    request = {"start": start, "size": SLICE}
    bound = memory.allowance() + _FOR_SHOW
    try:
        return child.ask(_READ, request, [source, target], memory_bytes=bound)
    except MkoldError as error:
        raise type(error)(f"{shown(reading.name, most=200)}: {error}") from error
