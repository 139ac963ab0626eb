"""Traces on disk: Parquet with zstd, readable by any Parquet tool.

Columns ``page`` (UInt32), ``write`` (Boolean), ``run`` (UInt32), one row per run, in order.
The file's key-value metadata holds the header under the key ``mkold.trace``, as JSON.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

import numpy as np

from mkold.base import child, memory
from mkold.base.errors import InputError, LimitError, MkoldError
from mkold.base.files import open_file, scratch_file
from mkold.base.output import staged, write_all
from mkold.base.shown import shown
from mkold.trace.fold import Folder
from mkold.trace.schema import U8, U32, Header, Trace

if TYPE_CHECKING:
    from mkold.base.files import File

METADATA_KEY = "mkold.trace"
_READ, _WRITE = "mkold.trace.columns:read", "mkold.trace.columns:write"


def read_trace(path: File, *, memory_bytes: int | None = None) -> Trace:
    """Read a trace file and check it against its own header.

    Parameters
    ----------
    memory_bytes : the bound for reading it; by default from what the machine has

    Raises
    ------
    InputError : no such file, not a trace, damaged, or at odds with its header
    LimitError : it needs more memory than the bound
    """
    bound = memory.allowance() if memory_bytes is None else memory_bytes
    with open_file(path) as source, scratch_file() as target:
        header, n_rows = _ask(path, source, target, bound)
        if n_rows != header.n_rows:
            raise InputError(
                f"{shown(path)}: the header says {header.n_rows} rows, the file has {n_rows}"
            )
        page, run, write = _columns(target, n_rows)
    try:
        return Trace(page, write, run, header).check()
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from error


def read_header(path: File) -> Header:
    """Read a trace's header without its rows.

    Raises
    ------
    InputError : no such file, or not a trace
    """
    with open_file(path) as source:
        return _ask(path, source, None, memory.allowance())[0]


def _ask(
    path: File, source: BinaryIO, target: BinaryIO | None, bound: int
) -> tuple[Header, int]:
    """The header, and how many rows went to ``target``."""
    name = shown(path, most=200)
    files = [file.fileno() for file in (source, target) if file is not None]
    request = {"key": METADATA_KEY, "bound": bound}
    try:
        answer = child.ask(_READ, request, files, memory_bytes=_room(bound))
        header = Header.from_json(json.loads(answer["metadata"]))
    except LimitError as error:
        raise LimitError(
            f"{name}: {error}; {memory.in_words(bound)} are allowed (--memory-limit)"
        ) from error
    except MkoldError as error:
        raise InputError(f"{name}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: the header is not JSON: {error}") from error
    return header, answer["n_rows"]


def _room(bound: int) -> int:
    """The address space of a process that may take ``bound``: libraries map some for show."""
    return bound + (2 << 30)


def _columns(file: BinaryIO, n_rows: int) -> tuple[U32, U32, U8]:
    """The arrays that lie in the file, mapped."""
    if not n_rows:
        return np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.uint8)
    mapped = mmap.mmap(file.fileno(), 9 * n_rows, access=mmap.ACCESS_COPY)
    words = np.frombuffer(mapped, np.uint32, 2 * n_rows)
    return words[:n_rows], words[n_rows:], np.frombuffer(mapped, np.uint8, n_rows, 8 * n_rows)


def write_trace(path: str | os.PathLike[str], trace: Trace, *, force: bool = False) -> None:
    """Write a trace, whole or not at all.

    Raises
    ------
    InputError : it disagrees with its header, or the file exists or can't be written
    LimitError : there is too little memory to write it
    """
    trace.check()
    _write(path, [(trace.page, trace.write, trace.run)], trace.header, force=force)


def write_folded(
    path: str | os.PathLike[str], folder: Folder, header: Header, *, force: bool = False
) -> None:
    """Write what a folder holds, a piece at a time, whole or not at all.

    Raises
    ------
    InputError : the file exists or can't be written
    LimitError : there is too little memory to write it
    """
    _write(path, folder.pieces(), header, force=force)


def _write(
    path: str | os.PathLike[str], pieces: Iterable[tuple[U32, U8, U32]], header: Header,
    *, force: bool,
) -> None:  # fmt: skip
    metadata = {METADATA_KEY: json.dumps(header.to_json(), separators=(",", ":"))}
    request = {"n_rows": header.n_rows, "metadata": metadata}
    with (
        staged(Path(path), force=force) as temporary,
        temporary.open("r+b") as target,
        tempfile.TemporaryFile(buffering=0) as rows,
    ):
        _lay_out(pieces, header.n_rows, rows)
        try:
            child.ask(_WRITE, request, [target.fileno(), rows.fileno()])
        except LimitError as error:
            raise LimitError(f"can't write {shown(path, most=200)}: {error}") from error
        except MkoldError as error:
            raise InputError(f"can't write {shown(path, most=200)}: {error}") from error


def _lay_out(pieces: Iterable[tuple[U32, U8, U32]], n_rows: int, file: IO[bytes]) -> None:
    """The rows, as ``columns`` takes them."""
    start = 0
    for page, write, run in pieces:
        for column, at in ((page, 4 * start), (run, 4 * (n_rows + start)),
                           (write, 8 * n_rows + start)):  # fmt: skip
            file.seek(at)
            write_all(file.fileno(), column.data)
        start += len(page)
