"""Writing result files: beside the target first, then renamed; no silent overwrite.

Rules
-----
1. A target is replaced whole or not at all: written beside it, flushed to the disk, renamed.
   A failed or interrupted write, or a full disk, leaves the old file and nothing else.
2. An existing file is never overwritten unless ``force`` is set.
3. A device or a pipe (``/dev/stdout``, ``/dev/null``) is written to, never replaced.
4. A symbolic link is followed: the file it names is replaced, not the link.
5. ``refuse_overwrite`` says what can't be written before the work rather than after it.

Known limit: that a disk will be full can't be known before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mkold.base import signals
from mkold.base.errors import InputError
from mkold.base.shown import shown


@contextmanager
def staged(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; at a clean end it becomes ``path``.

    Raises
    ------
    InputError : the file exists and ``force`` is not set, or it can't be written
    """
    refuse_overwrite(path, force=force)
    made: list[Path] = []
    try:
        target = Path(os.path.realpath(path))
        device = _is_device(target)
        with signals.whole():
            made.append(_temporary(None if device else target.parent))
        yield made[0]
        refuse_overwrite(path, force=force)  # it may have appeared meanwhile
        _publish(made[0], target, device=device)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        for temporary in made:
            temporary.unlink(missing_ok=True)


def write_file(path: Path, data: str | bytes, *, force: bool = False) -> None:
    """Write ``data`` to ``path`` whole or not at all.

    Raises
    ------
    InputError : the file exists and ``force`` is not set, or it can't be written
    """
    raw = data.encode(errors="backslashreplace") if isinstance(data, str) else data
    with staged(path, force=force) as temporary:
        temporary.write_bytes(raw)


def write_all(fd: int, data: memoryview) -> None:
    """Write all of ``data``, of an array say, to an open file."""
    left = data.cast("B") if data.nbytes else data
    while left.nbytes:
        left = left[os.write(fd, left) :]


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for temporary files, gone at the end however it comes."""
    with signals.whole():
        folder = Path(tempfile.mkdtemp(prefix=".mkold-"))
    try:
        yield folder
    finally:
        with signals.whole():
            shutil.rmtree(folder, ignore_errors=True)


def refuse_overwrite(path: Path, *, force: bool) -> None:
    """Raise before work starts rather than after it, if ``path`` is taken or can't be written.

    Raises
    ------
    InputError : that, with the reason
    """
    try:
        if path.is_dir():
            raise InputError(f"{shown(path)} is a directory; name a file")
        if path.exists() and not force and not _is_device(path):
            raise InputError(f"{shown(path)} exists; use --force to overwrite it")
        _try(Path(os.path.realpath(path)))
    except OSError as error:
        raise _refused(path, error) from error


def _try(target: Path) -> None:
    """Write nothing, where the result will be written."""
    if _is_device(target):
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    with contextlib.suppress(FileNotFoundError):
        os.stat(target)  # a name that is too long for one
    with signals.whole():
        _temporary(target.parent).unlink()


def _refused(path: Path, error: OSError) -> InputError:
    return InputError(f"can't write {shown(path, most=200)}: {error.strerror or error}")


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _temporary(folder: Path | None) -> Path:
    handle, name = tempfile.mkstemp(dir=folder, prefix=".mkold-")
    os.close(handle)
    return Path(name)


def _publish(temporary: Path, target: Path, *, device: bool) -> None:
    with temporary.open("rb") as source:
        if device:
            with target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            return
        os.fsync(source.fileno())
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    os.replace(temporary, target)
