"""A file's lines, and errors that point into them."""

from __future__ import annotations

from dataclasses import dataclass

from mkold.base.errors import Pos, SourceError


@dataclass(frozen=True, slots=True)
class Source:
    """One file's lines."""

    file: str
    lines: tuple[str, ...]

    def line(self, number: int) -> str:
        """The text of one line, without its end."""
        if 1 <= number <= len(self.lines):
            return self.lines[number - 1].rstrip("\n")
        return ""

    def text(self, at: Pos) -> str:
        """What stands at ``at``; of several lines, the first."""
        return self.line(at.line)[at.col - 1 : at.end - 1]

    def error(self, at: Pos, reason: str, hint: str = "") -> SourceError:
        """An error at a position."""
        return SourceError(reason, at, self.line(at.line), hint)
