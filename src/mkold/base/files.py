"""Reading what the user names, which may be anything that has a name.

Rules
-----
1. No more than the stated bytes are ever read: ``/dev/zero`` is a file that is too long.
2. A pipe is read to its end. One that nobody writes to is an empty file, not a wait.
3. Whatever the system refuses (no such file, no permission, a name too long) is an
   ``InputError`` with the name and the reason.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import tempfile
from typing import TYPE_CHECKING, BinaryIO

from mkold.base.errors import InputError
from mkold.base.shown import shown

if TYPE_CHECKING:  # a tenth of the time that --help takes
    from importlib.resources.abc import Traversable

    File = str | os.PathLike[str] | Traversable

MOST_BYTES = 1 << 26
# Errors that the user's files, disks and limits bring about, rather than a mistake of ours.
OUTSIDE = frozenset(
    {
        errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO,
        errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.EROFS, errno.ENOSPC,
        errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETXTBSY,
        errno.EBUSY, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL,
        errno.EBADF,  # a claims file may close standard output
    }
)  # fmt: skip


def read_bytes(path: str | os.PathLike[str], *, most: int = MOST_BYTES) -> bytes:
    """All of a file.

    Raises
    ------
    InputError : it can't be read, or has more than ``most`` bytes
    """
    fd = _opened(path)
    try:
        data = _until(fd, most + 1)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        os.close(fd)
    if len(data) > most:
        raise InputError(f"{shown(path)} is longer than {most} bytes")
    return data


def read_text(path: str | os.PathLike[str], *, most: int = MOST_BYTES) -> str:
    """All of a text; bytes that are not UTF-8 are replaced, line ends made one.

    Raises
    ------
    InputError : as for ``read_bytes``
    """
    text = read_bytes(path, most=most).decode("utf-8", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def open_file(path: File) -> BinaryIO:
    """Open a file proper, in which one can go back and forth, without waiting for anybody.

    Raises
    ------
    InputError : it can't be opened, or is no such file
    """
    if not isinstance(path, str | os.PathLike):  # in an archive
        unpacked = scratch_file()
        unpacked.write(path.read_bytes())
        unpacked.seek(0)
        return unpacked
    fd = _opened(path)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InputError(f"{shown(path, most=200)} is no file proper, but a pipe or a device")
    return os.fdopen(fd, "rb")


def scratch_file() -> BinaryIO:
    """A file without a name, in memory where the system has that."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("mkold"), "w+b")
    return tempfile.TemporaryFile()


def _opened(path: str | os.PathLike[str]) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(path, error) from error
    except ValueError as error:  # a zero byte
        raise InputError(f"can't read {shown(path, most=200)}: {error}") from error
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise InputError(f"{shown(path, most=200)} is a directory; name a file")
    return fd


def _until(fd: int, most: int) -> bytes:
    """What the file gives until its end, at most so many bytes."""
    found = bytearray()
    while len(found) < most:
        try:
            part = os.read(fd, min(1 << 20, most - len(found)))
        except BlockingIOError:  # a pipe that somebody will write to
            select.select([fd], [], [])
            continue
        if not part:
            break
        found += part
    return bytes(found)


def _refused(path: str | os.PathLike[str], error: OSError) -> InputError:
    return InputError(f"can't read {shown(path, most=200)}: {error.strerror or error}")
