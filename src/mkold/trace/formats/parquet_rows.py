"""The other side of ``parquet``: rows of a Parquet file, read in a process of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from mkold.base.errors import InputError
from mkold.trace.formats import rows
from mkold.trace.formats.kind_address import KINDS


def read(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """``size`` rows from ``start`` on of the first file, to the second.

    Raises
    ------
    InputError : not a Parquet file, or without the columns of a trace
    """
    path = f"/proc/self/fd/{files[0]}"
    try:
        names = list(pl.read_parquet_schema(path))
        found = rows.columns(names)
        if found is None:
            listed = ", ".join(names)[:120]
            raise InputError(
                f"a Parquet file whose columns ({listed}) are not those of a trace"
            )
        is_address = "page" not in found
        lazy = pl.scan_parquet(path, glob=False).slice(request["start"], request["size"])
        frame = lazy.select(_wanted(found, names)).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"not readable: {reason[:120]}") from error
    if any(frame[name].null_count() for name in frame.columns):
        raise InputError("the columns have gaps, or values that are not of a trace")
    with open(f"/proc/self/fd/{files[1]}", "r+b") as target:
        for name in ("place", "run", "write"):
            np.ascontiguousarray(frame[name].to_numpy()).tofile(target)
    return {"n_rows": frame.height, "is_address": is_address}


def _wanted(found: dict[str, int], names: list[str]) -> list[pl.Expr]:
    place = pl.col(names[found.get("page", found.get("address", 0))])
    run = pl.col(names[found["run"]]) if "run" in found else pl.lit(1)
    if "write" in found:
        write = pl.col(names[found["write"]]).cast(pl.Boolean)
    else:
        kinds = {word.decode(): kind == 1 for word, kind in KINDS.items() if kind <= 1}
        kind = pl.col(names[found["kind"]]).cast(pl.String)
        write = kind.replace_strict(kinds, default=None, return_dtype=pl.Boolean)
    return [
        place.cast(pl.UInt64).alias("place"),
        run.cast(pl.UInt64).alias("run"),
        write.cast(pl.UInt8).alias("write"),
    ]
