"""Writing result files: beside the target first, then renamed; no silent overwrite."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mkold.base.errors import InputError


def write_file(path: Path, data: str | bytes, *, force: bool = False) -> None:
    """Write ``data`` to ``path`` whole or not at all.

    Raises
    ------
    InputError : the file exists and ``force`` is not set, or it can't be written
    """
    refuse_overwrite(path, force=force)
    raw = data.encode() if isinstance(data, str) else data
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise InputError(f"can't write {path}: {error.strerror}") from error


def refuse_overwrite(path: Path, *, force: bool) -> None:
    """Raise before work starts rather than after it, if ``path`` is taken."""
    if path.exists() and not force:
        raise InputError(f"{path} exists; use --force to overwrite it")
