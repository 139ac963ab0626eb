"""The table of a sweep on disk: Parquet, whole after each point.

Its metadata says, under the key ``mkold.sweep``, what was asked for, with the keys of the grid
but not their values; only a sweep that asks the same may add to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mkold.base import child
from mkold.base.errors import InputError
from mkold.base.files import open_file
from mkold.base.output import refuse_overwrite, staged
from mkold.base.shown import shown
from mkold.run.results import RunResult
from mkold.run.sweep import Point, rows

_READ, _WRITE = "mkold.run.table_file:read", "mkold.run.table_file:write"


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
        self.path, self.keys = path, keys
        self._request = f"{','.join(keys)} {asked}"
        self.rows: list[dict[str, Any]] = []
        if path.exists() and not force:
            self.rows = self._known()
        else:
            refuse_overwrite(path, force=force)

    def _known(self) -> list[dict[str, Any]]:
        name = shown(self.path, most=200)
        with open_file(self.path) as file:
            try:
                found = child.ask(_READ, {}, [file.fileno()])
            except InputError as error:
                raise InputError(f"{name} is no sweep: {error}") from error
        if found["asked"] != self._request:
            raise InputError(f"{name} is of a sweep with other options; --force overwrites it")
        return list(found["rows"])

    def has(self, point: Point) -> bool:
        """Whether the point was measured."""
        return any(all(row.get(k) == v for k, v in point.items()) for row in self.rows)

    def add(self, point: Point, result: RunResult) -> None:
        """Add the point's rows and write the file."""
        self.rows += rows(point, result)
        self.save()

    def save(self) -> None:
        """Write the file, whole or not at all."""
        request = {"rows": self.rows, "asked": self._request}
        with staged(self.path, force=True) as temporary, temporary.open("r+b") as file:
            try:
                child.ask(_WRITE, request, [file.fileno()])
            except InputError as error:
                raise InputError(
                    f"can't write {shown(self.path, most=200)}: {error}"
                ) from error

    @property
    def n_points(self) -> int:
        """Points that were measured."""
        return len({tuple(row.get(key) for key in self.keys) for row in self.rows})
