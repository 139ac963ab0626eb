"""Parquet files, read and written in a process of its own (``mkold.base.child``).

The library for Parquet panics or aborts on some damaged files, takes what memory the file asks
for, and aborts where there is none. Here it may: ``read`` and ``write`` run in a child, and
rows come and go through an open file, all of ``page``, of ``run`` and then of ``write``, as the
arrays of a ``Trace`` lie in memory. Files are named by their descriptor, so that no name is
taken for a pattern.
"""

from __future__ import annotations

import contextlib
import tempfile
from typing import Any

import numpy as np
import polars as pl

from mkold.base.errors import InputError, LimitError
from mkold.base.output import write_all

TYPES = {"page": pl.UInt32(), "write": pl.Boolean(), "run": pl.UInt32()}
ROW_BYTES = 9  # of a trace in memory
READING_BYTES = 24  # a row while it is read, copies included
LEVEL = 19  # written once, read often
ROW_GROUP = 1 << 24  # large groups and pages: repetition far apart is what compresses
DATA_PAGE_BYTES = 1 << 26


def read(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """The metadata of the first file; and its rows to the second, if there is one.

    Raises
    ------
    InputError : not a Parquet file with a trace's columns
    LimitError : its rows need more than the ``bound``
    """
    path = f"/proc/self/fd/{files[0]}"
    try:
        metadata = pl.read_parquet_metadata(path)
        schema = pl.read_parquet_schema(path)
        text = metadata.get(request["key"])
        if text is None:
            raise InputError("a Parquet file, but not a trace: record one with `mkold record`")
        if dict(schema) != TYPES:
            names = ", ".join(schema)
            raise InputError(f"the columns are {names}, not page, write, run")
        n_rows = 0
        if files[1:]:
            n_rows = _rows(path, files[1], request["bound"])
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"not a readable trace: {reason[:120]}") from error
    return {"metadata": text, "n_rows": n_rows}


def _rows(path: str, target: int, bound: int) -> int:
    n_rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    if n_rows * READING_BYTES > bound:
        raise LimitError(f"its {n_rows:,} rows need {n_rows * READING_BYTES:,} bytes of memory")
    frame = pl.read_parquet(path, columns=list(TYPES))
    if any(frame[name].null_count() for name in frame.columns):
        raise InputError("the columns have gaps")
    for name in ("page", "run"):
        _put(target, frame[name])
    _put(target, frame["write"].cast(pl.UInt8))
    return frame.height


def _put(fd: int, column: pl.Series) -> None:
    write_all(fd, np.ascontiguousarray(column.to_numpy()).data)


def write(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """The ``n_rows`` rows of the second file to the first, with the ``metadata``.

    Raises
    ------
    InputError : there is no room for them
    """
    n_rows = request["n_rows"]
    try:
        with contextlib.ExitStack() as stack:
            parts = []
            for start in range(0, n_rows, ROW_GROUP):
                part = stack.enter_context(tempfile.TemporaryFile())
                _part(files[1], n_rows, start).write_ipc(part)
                part.flush()
                parts.append(pl.scan_ipc(f"/proc/self/fd/{part.fileno()}", glob=False))
            _sink(pl.concat(parts), files[0], request["metadata"])
    except pl.exceptions.PolarsError as error:
        raise InputError(str(error).partition("\n")[0][:200]) from error
    except OSError as error:
        raise InputError(error.strerror or str(error)[:200]) from error
    return {}


def _part(fd: int, n_rows: int, start: int) -> pl.DataFrame:
    """So many rows as a row group has, from ``start`` on."""
    size = min(ROW_GROUP, n_rows - start)

    def column(kind: type[np.generic], at: int) -> np.ndarray:
        return np.fromfile(f"/proc/self/fd/{fd}", kind, size, offset=at)

    return pl.DataFrame(
        {
            "page": column(np.uint32, 4 * start),
            "write": column(np.uint8, 8 * n_rows + start).astype(np.bool_),
            "run": column(np.uint32, 4 * (n_rows + start)),
        }
    )


def _sink(frame: pl.LazyFrame, fd: int, metadata: dict[str, str]) -> None:
    """Write rows as they come; one way for all, so that equal traces are equal files."""
    frame.sink_parquet(
        f"/proc/self/fd/{fd}",
        compression="zstd",
        compression_level=LEVEL,
        statistics=False,
        row_group_size=ROW_GROUP,
        data_page_size=DATA_PAGE_BYTES,
        maintain_order=True,
        metadata=metadata,
    )
