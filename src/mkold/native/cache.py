"""Object code on disk, by the content of all that went into it.

Rules
-----
* A key is the hash of the LLVM IR and of the compiler's identity; an edit anywhere that
  changes the code changes the key, whatever file it was made in.
* An entry carries the hash of its object code and its key. One that does not fit is
  rebuilt, never trusted.
* Entries are written beside their place and renamed, so that two processes never see half
  of one. A cache that can't be written is no error.

* Above ``MAX_ENTRIES`` the half that was written first goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

_MAGIC = b"mkold object 1\n"
_HASH_BYTES = 32
MAX_ENTRIES = 1000


def directory() -> Path:
    """Where entries lie: ``$MKOLD_CACHE_DIR``, else ``mkold`` in the user's cache."""
    own = os.environ.get("MKOLD_CACHE_DIR")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "mkold"
    except RuntimeError:  # a user without a home: nothing can be kept
        return Path(os.devnull) / "mkold"


def key_of(*parts: str) -> str:
    """The key of a build from everything that went into it."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part.encode())
    return digest.hexdigest()


def load(key: str) -> bytes | None:
    """The object code stored under ``key``, or ``None`` if there is none that is whole."""
    try:
        data = _path(key).read_bytes()
    except OSError:
        return None
    head = _MAGIC + key.encode()
    code = data[len(head) + _HASH_BYTES :]
    if data[: len(head)] != head:
        return None
    if hashlib.sha256(code).digest() != data[len(head) : len(head) + _HASH_BYTES]:
        return None
    return code


def store(key: str, code: bytes) -> None:
    """Keep ``code`` under ``key``; a place that can't be written is left alone."""
    path = _path(key)
    data = _MAGIC + key.encode() + hashlib.sha256(code).digest() + code
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
        _prune()
    except OSError:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _prune() -> None:
    entries = list(directory().glob("*.o"))
    if len(entries) > MAX_ENTRIES:
        for path in sorted(entries, key=lambda p: p.stat().st_mtime)[: MAX_ENTRIES // 2]:
            path.unlink(missing_ok=True)


def clear() -> int:
    """Delete every entry; how many there were."""
    n = 0
    for path in directory().glob("*.o"):
        with contextlib.suppress(OSError):
            path.unlink()
            n += 1
    return n


def _path(key: str) -> Path:
    return directory() / f"{key}.o"
