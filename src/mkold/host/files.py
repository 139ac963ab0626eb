"""The files of ``/proc``, ``/sys`` and ``/boot`` that are looked at, or a saved tree of them.

A file that is not there and one that may not be read are told apart: what needs root is said.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from pathlib import Path

MOST = 16 << 20  # bytes of one file


@dataclass
class Files:
    """Files below ``root``.

    Parameters
    ----------
    root : ``/``, or a folder in which a host's files were saved by their own paths
    seen : every path that was read, with its text
    folders : folders that were seen
    refused : paths that are there and may not be read
    """

    root: Path = Path("/")
    seen: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    @property
    def live(self) -> bool:
        """Whether it is this machine."""
        return self.root == Path("/")

    def read(self, path: str) -> str:
        """The text of a file without white space at its ends; empty if there is none."""
        try:
            with (self.root / path.lstrip("/")).open("rb") as file:
                data = file.read(MOST)
        except PermissionError:
            self._refuse(path)
            return ""
        except (OSError, ValueError):
            return ""
        if path.endswith(".gz"):
            try:
                data = gzip.decompress(data)
            except (OSError, EOFError, zlib.error):
                return ""
        text = data.decode("utf-8", "replace").strip()
        self.seen[path] = text
        return text

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        at = self.root / path.lstrip("/")
        try:
            if at.is_dir():
                self.folders.add(path)
            return at.exists()
        except PermissionError:
            self._refuse(path)
            return False

    def names(self, folder: str) -> list[str]:
        """What stands in a folder, in order; nothing if there is none."""
        try:
            inside = sorted((self.root / folder.lstrip("/")).iterdir())
            self.folders |= {f"{folder}/{entry.name}" for entry in inside if entry.is_dir()}
            return [entry.name for entry in inside]
        except PermissionError:
            self._refuse(folder)
            return []
        except OSError:
            return []

    def number(self, path: str) -> int | None:
        """The number that a file begins with, decimal or 0x; None if there is none."""
        words = self.read(path).split()
        try:
            return int(words[0], 0) if words else None
        except ValueError:
            return None

    def _refuse(self, path: str) -> None:
        if path not in self.refused:
            self.refused.append(path)
