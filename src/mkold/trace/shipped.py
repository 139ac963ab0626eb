"""The traces that come with mkold; ``data/README.md`` says how each was made."""

from __future__ import annotations

from pathlib import Path

from mkold.base.errors import InputError
from mkold.base.shown import shown

_DATA = Path(__file__).parent / "data"
SUFFIX = ".parquet"


def shipped() -> dict[str, Path]:
    """Name and file of each shipped trace, sorted by name."""
    return {path.stem: path for path in sorted(_DATA.glob(f"*{SUFFIX}"))}


def find_trace(name: str) -> Path:
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
