"""Places in the source that can fail, and how a native function ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from mkold.base.errors import Pos


class Status(IntEnum):
    """How a native function ended."""

    OK = 0
    BUG = 1
    STOPPED = 2


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the source that can fail, and how: ``BUG_ON``, ``out of bounds``, ..."""

    kind: str
    function: str
    what: str = ""
    at: Pos | None = None

    def __str__(self) -> str:
        what = f" {self.what}" if self.what else ""
        return f"{self.kind}{what} in {self.function} ({self.at or 'no position'})"
