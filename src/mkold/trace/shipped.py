"""The traces that come with mkold; ``data/README.md`` says how each was made.

They are found wherever the package is: in a folder, or in an archive that it runs from.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from mkold.base.errors import InputError
from mkold.base.shown import shown

SUFFIX = ".parquet"


def shipped() -> dict[str, Traversable]:
    """Name and file of each shipped trace, sorted by name."""
    found = {file.name: file for file in (files("mkold.trace") / "data").iterdir()}
    return {
        name.removesuffix(SUFFIX): found[name] for name in sorted(found)
        if name.endswith(SUFFIX)
    }  # fmt: skip


def find_trace(name: str) -> Path | Traversable:
    """The file that ``name`` means: a path that exists, or the name of a shipped trace.

    Raises
    ------
    InputError : neither
    """
    path = Path(name)
    known = shipped()
    if path.exists():
        return path
    if name in known:
        return known[name]
    listed = ", ".join(known)
    raise InputError(
        f"no trace {shown(name, most=200)}: neither a file nor a shipped trace ({listed})"
    )
