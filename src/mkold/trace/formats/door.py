"""Import what another tool recorded: from the bytes of a file into a folder, or a trace."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import BinaryIO

from mkold.base.errors import LimitError
from mkold.base.files import open_file
from mkold.base.memory import require
from mkold.base.shown import shown
from mkold.trace.feed import Limits, Progress, feed
from mkold.trace.fold import Folder, Origin
from mkold.trace.formats import parquet
from mkold.trace.formats.compressed import chunks
from mkold.trace.formats.reading import Reading
from mkold.trace.formats.table import HEAD_BYTES, recognise
from mkold.trace.parquet import read_trace
from mkold.trace.schema import Trace

IMPORT_BYTES = 32  # of memory a row, while a trace is put together


def convert(
    source: BinaryIO, name: str, folder: Folder, limits: Limits, progress: Progress
) -> tuple[Origin, list[str]]:
    """Fold what was recorded elsewhere; and what the user is to be told about it.

    Raises
    ------
    SourceError : of no format that is taken, or a line is not of it; with the line
    InputError : it can't be read
    """
    reading = Reading(name, instructions=limits.instructions, seed=limits.seed)
    stopped = "interrupted"
    with contextlib.closing(chunks(source, name)) as text:
        head = _head(text)
        known = recognise(head, reading)
        origin = Origin(name, known.source(limits.seed), limits.instructions)
        with contextlib.suppress(KeyboardInterrupt):
            parsed = known.read(itertools.chain([head], text), reading)
            stopped = feed(parsed, folder, progress)
    said = [f"{name}: read as {known.name}", *([known.said] if known.said else [])]
    left_out = [f"left out: {n:,} {what}" for what, n in reading.left_out.items()]
    return replace(origin, stopped=stopped), said + reading.notes + left_out


def open_trace(
    path: Path | Traversable, *, memory_bytes: int | None = None, seed: int = 1
) -> tuple[Trace, list[str]]:
    """The trace in a file, imported if it is another tool's; and what the user is to be told.

    Raises
    ------
    InputError : no trace, neither ours nor of a format that is taken
    LimitError : it needs more memory than the bound
    """
    if not isinstance(path, Path):  # one that ships, in an archive
        return read_trace(path, memory_bytes=memory_bytes), []
    with open_file(path) as file:
        if _is_ours(file):
            return read_trace(path, memory_bytes=memory_bytes), []
        name = str(path)
        with Folder() as folder:
            origin, said = convert(file, name, folder, Limits(seed=seed), lambda *_: None)
            if origin.stopped == "interrupted":
                raise KeyboardInterrupt
            if origin.stopped != "end":
                raise LimitError(f"{shown(name, most=200)}: stopped early: {origin.stopped}")
            require(IMPORT_BYTES * folder.n_rows, memory_bytes, f"importing {name}")
            trace = folder.trace(origin)
    return trace, [*said, f"mkold record --import {shown(name)} -o FILE keeps it as a trace"]


def _is_ours(file: BinaryIO) -> bool:
    """Whether it is Parquet with our header; or seems to be, and is damaged."""
    found = parquet.has_header(file)
    file.seek(0)
    return found is not False


def _head(text: Iterator[bytes]) -> bytes:
    """The first bytes of it, enough to tell what it is."""
    head = b""
    while len(head) < HEAD_BYTES and (chunk := next(text, b"")):
        head += chunk
    return head
