"""The table of a sweep on disk: Parquet, whole after each point.

Its metadata says, under the key ``mkold.sweep``, what was asked for but for the grid; only a
sweep that asks the same may add to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mkold.base.errors import InputError
from mkold.base.output import refuse_overwrite, staged
from mkold.base.shown import shown
from mkold.run.results import RunResult
from mkold.run.sweep import Point, rows

METADATA_KEY = "mkold.sweep"


class Table:
    """The rows so far.

    Parameters
    ----------
    path : the file; its rows are taken over if it is there
    keys : of the grid
    asked : what else decides the figures, as text
    force : start afresh

    Raises
    ------
    InputError : the file is of something else, or can't be written
    """

    def __init__(self, path: Path, keys: Sequence[str], asked: str, *, force: bool) -> None:
        self.path, self.keys, self.asked = path, keys, asked
        self.rows: list[dict[str, Any]] = []
        if path.exists() and not force:
            self.rows = self._known()
        else:
            refuse_overwrite(path, force=force)

    def _known(self) -> list[dict[str, Any]]:
        try:
            asked = pl.read_parquet_metadata(self.path).get(METADATA_KEY)
            known = pl.read_parquet(self.path).to_dicts()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{shown(self.path)} is no sweep: {shown(str(error))}") from error
        if asked != self.asked:
            raise InputError(
                f"{shown(self.path)} is of a sweep with other options; --force overwrites it"
            )
        return known

    def has(self, point: Point) -> bool:
        """Whether the point was measured."""
        return any(all(row.get(k) == v for k, v in point.items()) for row in self.rows)

    def add(self, point: Point, result: RunResult) -> None:
        """Add the point's rows and write the file."""
        self.rows += rows(point, result)
        with staged(self.path, force=True) as temporary:
            frame = pl.from_dicts(self.rows, infer_schema_length=None)
            frame.write_parquet(temporary, metadata={METADATA_KEY: self.asked})

    @property
    def n_points(self) -> int:
        """Points that were measured."""
        return len({tuple(row.get(key) for key in self.keys) for row in self.rows})
