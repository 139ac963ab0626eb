"""The first file system of a kernel under test: agent, modules in order, folders.

A module's own list of what it depends on says what has to be loaded before it. The kernel
is handed modules unpacked. The format is "newc" of cpio, written here.
"""

from __future__ import annotations

import gzip
import lzma
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from mkold.base.errors import InputError

FOLDERS = ("dev", "proc", "sys", "mods", "tmp", "cgroup")
_NAME = re.compile(r"(.+)\.ko(\.xz|\.gz)?")


class Archive:
    """A cpio archive under way."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._inode = 0

    def add(self, name: str, data: bytes = b"", mode: int = stat.S_IFREG | 0o755,
            device: tuple[int, int] = (0, 0)) -> None:  # fmt: skip
        """Add a file, a folder or a device."""
        self._inode += 1
        raw = name.encode() + b"\0"
        numbers = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0)
        self._bytes += b"070701" + b"".join(b"%08X" % number for number in numbers) + raw
        self._pad()
        self._bytes += data
        self._pad()

    def _pad(self) -> None:
        self._bytes += bytes(-len(self._bytes) % 4)

    def finish(self) -> bytes:
        """The archive, whole."""
        self.add("TRAILER!!!", mode=0)
        return bytes(self._bytes)


def module_files(folder: Path) -> dict[str, Path]:
    """Every module below ``folder``, by name (with ``_``)."""
    found = {}
    for path in folder.rglob("*.ko*"):
        match = _NAME.fullmatch(path.name)
        if match:
            found[match[1].replace("-", "_")] = path
    return found


def load(path: Path) -> bytes:
    """A module, unpacked."""
    data = path.read_bytes()
    match path.suffix:
        case ".xz":
            return lzma.decompress(data)
        case ".gz":
            return gzip.decompress(data)
        case _:
            return data


def with_dependencies(files: Mapping[str, Path], names: Iterable[str]) -> dict[str, bytes]:
    """The modules named and those they need, in the order of loading. What is no module is
    taken to be built in."""
    found: dict[str, bytes] = {}
    visited = set()

    def visit(name: str) -> None:
        if name in visited or name not in files:
            return
        visited.add(name)
        data = load(files[name])
        match = re.search(rb"\0depends=([^\0]*)\0", data)
        for needed in (match[1].decode() if match else "").split(","):
            visit(needed.replace("-", "_"))
        found[name] = data

    for name in names:
        visit(name.replace("-", "_"))
    return found


def make(agent: Path, modules: Path, wanted: Mapping[str, str], own: Path | None) -> bytes:
    """The file system.

    Parameters
    ----------
    agent : the program that is process 1
    modules : the folder of the kernel's modules
    wanted : modules to load, with their parameters
    own : one more module, or None

    Raises
    ------
    InputError : a file is missing
    """
    archive = Archive()
    for folder in FOLDERS:
        archive.add(folder, mode=stat.S_IFDIR | 0o755)
    archive.add("dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1))
    try:
        loaded = with_dependencies(module_files(modules), wanted)
        if own is not None:
            loaded[own.name.partition(".")[0]] = own.read_bytes()
        archive.add("init", agent.read_bytes())
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; run the set-up again") from error
    by_name = {name.replace("-", "_"): text for name, text in wanted.items()}
    order = [f"{name}.ko {by_name.get(name, '')}".strip() for name in loaded]
    for name, data in loaded.items():
        archive.add(f"mods/{name}.ko", data, stat.S_IFREG | 0o644)
    archive.add("mods/order", "".join(f"{line}\n" for line in order).encode())
    return archive.finish()
