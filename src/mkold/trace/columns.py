"""What a Parquet file holds, read in a process of its own (``mkold.base.child``).

The library that reads Parquet panics or aborts on some damaged files, and takes what memory
the file asks for. Here it may: ``read`` runs in a child, and its columns come back through an
open file, ``page`` and ``run`` and then ``write``, as the arrays of a ``Trace`` lie in memory.
Files are named by their descriptor, so that no name is taken for a pattern.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import polars as pl

from mkold.base.errors import InputError, LimitError

TYPES = {"page": pl.UInt32(), "write": pl.Boolean(), "run": pl.UInt32()}
ROW_BYTES = 9  # of a trace in memory
READING_BYTES = 24  # a row while it is read, copies included


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
    data = memoryview(np.ascontiguousarray(column.to_numpy()).data).cast("B")
    while data:
        data = data[os.write(fd, data) :]
