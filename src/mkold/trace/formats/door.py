"""Import what another tool recorded: from the bytes of a file into a folder."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from mkold.trace.feed import Limits, Progress, feed
from mkold.trace.fold import Folder, Origin
from mkold.trace.formats.compressed import chunks
from mkold.trace.formats.reading import Reading
from mkold.trace.formats.table import HEAD_BYTES, recognise


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
        origin = Origin(name, known.name, limits.instructions)
        with contextlib.suppress(KeyboardInterrupt):
            parsed = known.read(itertools.chain([head], text), reading)
            stopped = feed(parsed, folder, progress)
    said = [f"{name}: read as {known.name}", *([known.said] if known.said else [])]
    left_out = [f"left out: {n:,} {what}" for what, n in reading.left_out.items()]
    return replace(origin, stopped=stopped), said + reading.notes + left_out


def _head(text: Iterator[bytes]) -> bytes:
    """The first bytes of it, enough to tell what it is."""
    head = b""
    while len(head) < HEAD_BYTES and (chunk := next(text, b"")):
        head += chunk
    return head
