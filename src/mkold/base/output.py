"""Writing result files: beside the target first, then renamed; no silent overwrite.

Rules
-----
1. A target is replaced whole or not at all; a failed or interrupted write leaves nothing.
2. An existing file is never overwritten unless ``force`` is set.
3. A device or a pipe (``/dev/stdout``, ``/dev/null``) is written to, never replaced.
4. A symbolic link is followed: the file it names is replaced, not the link.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mkold.base.errors import InputError


@contextmanager
def staged(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; at a clean end it becomes ``path``.

    Raises
    ------
    InputError : the file exists and ``force`` is not set, or it can't be written
    """
    refuse_overwrite(path, force=force)
    target = Path(os.path.realpath(path))
    device = _is_device(target)
    temporary = _temporary(path, None if device else target.parent)
    try:
        yield temporary
        refuse_overwrite(path, force=force)  # it may have appeared meanwhile
        _publish(temporary, target, device=device)
    except OSError as error:
        raise InputError(f"can't write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, data: str | bytes, *, force: bool = False) -> None:
    """Write ``data`` to ``path`` whole or not at all.

    Raises
    ------
    InputError : the file exists and ``force`` is not set, or it can't be written
    """
    raw = data.encode() if isinstance(data, str) else data
    with staged(path, force=force) as temporary:
        temporary.write_bytes(raw)


def refuse_overwrite(path: Path, *, force: bool) -> None:
    """Raise before work starts rather than after it, if ``path`` is taken."""
    if path.is_dir():
        raise InputError(f"{path} is a directory; name a file")
    if path.exists() and not force and not _is_device(path):
        raise InputError(f"{path} exists; use --force to overwrite it")


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _temporary(path: Path, folder: Path | None) -> Path:
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"can't write {path}: {error.strerror}") from error
    os.close(handle)
    return Path(name)


def _publish(temporary: Path, target: Path, *, device: bool) -> None:
    if device:
        with temporary.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        return
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    os.replace(temporary, target)
