"""Traces on disk: Parquet with zstd, readable by any Parquet tool.

Columns ``page`` (UInt32), ``write`` (Boolean), ``run`` (UInt32), one row per run, in order.
The file's key-value metadata holds the header under the key ``mkold.trace``, as JSON.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mkold.base.errors import InputError
from mkold.base.output import staged
from mkold.trace.fold import Folder
from mkold.trace.schema import U8, U32, Header, Trace

METADATA_KEY = "mkold.trace"
LEVEL = 19  # written once, read often
ROW_GROUP = 1 << 24  # large groups and pages: repetition far apart is what compresses
DATA_PAGE_BYTES = 1 << 26
MAX_ROWS = 1 << 28
_TYPES = {"page": pl.UInt32(), "write": pl.Boolean(), "run": pl.UInt32()}


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read a trace file and check it against its own header.

    Raises
    ------
    InputError : no such file, not a trace, damaged, or at odds with its header
    """
    path = Path(path)
    header = read_header(path)
    n_rows = _guard(path, lambda: pl.scan_parquet(path).select(pl.len()).collect().item())
    if n_rows != header.n_rows or n_rows > MAX_ROWS:
        raise InputError(
            f"{path}: the header says {header.n_rows} rows, the file has {n_rows}; "
            f"at most {MAX_ROWS} are read"
        )
    frame = _guard(path, lambda: pl.read_parquet(path, columns=list(_TYPES)))
    if any(frame[name].null_count() for name in frame.columns):
        raise InputError(f"{path}: the columns have gaps")
    trace = Trace(
        frame["page"].to_numpy(),
        frame["write"].cast(pl.UInt8).to_numpy(),
        frame["run"].to_numpy(),
        header,
    )
    try:
        return trace.check()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read a trace's header without its rows.

    Raises
    ------
    InputError : no such file, or not a trace
    """
    path = Path(path)
    metadata = _guard(path, lambda: pl.read_parquet_metadata(path))
    if METADATA_KEY not in metadata:
        raise InputError(
            f"{path} is a Parquet file, but not a trace: record one with `mkold record`"
        )
    schema = _guard(path, lambda: pl.read_parquet_schema(path))
    if dict(schema) != _TYPES or any(schema[name].is_nested() for name in schema):
        raise InputError(f"{path}: the columns are {', '.join(schema)}, not page, write, run")
    try:
        return Header.from_json(json.loads(metadata[METADATA_KEY]))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: the header is not JSON: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_trace(path: str | os.PathLike[str], trace: Trace, *, force: bool = False) -> None:
    """Write a trace, whole or not at all.

    Raises
    ------
    InputError : it disagrees with its header, or the file exists or can't be written
    """
    trace.check()
    with staged(Path(path), force=force) as temporary:
        frame = _frame(trace.page, trace.write, trace.run)
        _sink(frame.lazy(), temporary, trace.header)


def write_folded(
    path: str | os.PathLike[str], folder: Folder, header: Header, *, force: bool = False
) -> None:
    """Write what a folder holds, a piece at a time, whole or not at all.

    Raises
    ------
    InputError : the file exists or can't be written
    """
    path = Path(path)
    with staged(path, force=force) as temporary, tempfile.TemporaryDirectory() as scratch:
        parts = []
        for at, (page, write, run) in enumerate(folder.pieces()):
            part = Path(scratch) / f"{at}.arrow"
            _frame(page, write, run).write_ipc(part)
            parts.append(pl.scan_ipc(part))
        _sink(pl.concat(parts), temporary, header)


def _sink(frame: pl.LazyFrame, path: Path, header: Header) -> None:
    """Write rows as they come; one way for all, so that equal traces are equal files."""
    frame.sink_parquet(
        path,
        compression="zstd",
        compression_level=LEVEL,
        statistics=False,
        row_group_size=ROW_GROUP,
        data_page_size=DATA_PAGE_BYTES,
        maintain_order=True,
        metadata=_metadata(header),
    )


def _frame(page: U32, write: U8, run: U32) -> pl.DataFrame:
    return pl.DataFrame({"page": page, "write": write.astype(np.bool_), "run": run})


def _metadata(header: Header) -> dict[str, str]:
    return {METADATA_KEY: json.dumps(header.to_json(), separators=(",", ":"))}


def _guard(path: Path, read: Any) -> Any:
    """Run a polars call on a file that may be anything; its complaints become ours."""
    if path.is_dir():
        raise InputError(f"{path} is a directory, not a trace")
    try:
        return read()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{path} is not a readable trace: {reason}") from error
    except BaseException as error:
        # A Rust panic on a damaged file is no Exception; nothing else is caught here.
        if type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{path} is not a readable trace: the file is damaged") from error
