"""All errors mkold raises on purpose.

::

    MkoldError                  exit code
    |-- UsageError              2   the command line makes no sense
    |-- InputError              3   a file or value given by the user is wrong
    |   `-- SourceError         3   ... at a known place: file, line, caret, hint
    |-- UnsupportedError        3   understood, but outside what mkold can decide
    `-- LimitError              4   a bound (time, memory, unrolling) was reached

Anything else that escapes is a bug of mkold's (exit code 70). A found counterexample
is a verdict, never an exception. Every error pickles, since work crosses processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from mkold.base.shown import shown


class Exit(IntEnum):
    """Exit codes of every verb."""

    HOLDS = 0
    COUNTEREXAMPLE = 1
    USAGE = 2
    BAD_INPUT = 3
    UNDECIDED = 4
    INTERNAL = 70
    INTERRUPTED = 130


class MkoldError(Exception):
    """Root of the tree; ``exit_code`` is what the command line returns."""

    exit_code = Exit.INTERNAL


class UsageError(MkoldError):
    """The command line makes no sense."""

    exit_code = Exit.USAGE


class InputError(MkoldError):
    """A file or a value given by the user is wrong."""

    exit_code = Exit.BAD_INPUT


class UnsupportedError(MkoldError):
    """Understood, but outside what mkold can decide; names the construct."""

    exit_code = Exit.BAD_INPUT


class LimitError(MkoldError):
    """A stated bound was reached before an answer was found."""

    exit_code = Exit.UNDECIDED


@dataclass(frozen=True, slots=True)
class Pos:
    """A place in a source file; lines and columns count from 1, ``end`` exclusive."""

    file: str
    line: int
    col: int = 1
    end: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}"


class SourceError(InputError):
    """Bad source text at a known place.

    Parameters
    ----------
    reason : what is wrong, one sentence, no trailing full stop
    pos : where
    text : the offending source line (may be empty)
    hint : what to do about it (may be empty)
    """

    def __init__(self, reason: str, pos: Pos, text: str = "", hint: str = "") -> None:
        super().__init__(reason, pos, text, hint)
        self.reason, self.pos, self.text, self.hint = reason, pos, text, hint

    def __str__(self) -> str:
        lines = [shown(f"{self.pos}: error: {self.reason}", keep="\n")]
        if self.text:
            text = self.text.expandtabs(1).rstrip("\n")
            before = len(shown(text[: self.pos.col - 1])) + max(0, self.pos.col - 1 - len(text))
            marked = shown(text[self.pos.col - 1 : max(self.pos.col, self.pos.end - 1)])
            lines.append(f"    {shown(text)}")
            lines.append("    " + " " * before + "^" * max(1, len(marked)))
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)
