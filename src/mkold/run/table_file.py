"""The file of a sweep's table, read and written in a process of its own (``base.child``).

The library for Parquet may panic or abort on a damaged file, or where memory is short.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import polars as pl

from mkold.base.errors import InputError

METADATA_KEY = "mkold.sweep"


def read(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """The rows of the file, and what was asked for.

    Raises
    ------
    InputError : it is no table
    """
    path = f"/proc/self/fd/{files[0]}"
    with _complaints():
        asked = pl.read_parquet_metadata(path).get(METADATA_KEY)
        return {"asked": asked, "rows": pl.read_parquet(path).to_dicts() if asked else []}


def write(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """Write ``rows``, and what was ``asked`` for, to the file.

    Raises
    ------
    InputError : there is no room
    """
    frame = pl.from_dicts(request["rows"], infer_schema_length=None)
    with _complaints():
        frame.write_parquet(
            f"/proc/self/fd/{files[0]}", metadata={METADATA_KEY: request["asked"]}
        )
    return {}


@contextlib.contextmanager
def _complaints() -> Iterator[None]:
    """The library's become ours."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(str(error).partition("\n")[0][:160]) from error
