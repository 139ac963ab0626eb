"""A source text with positions, and its tokens.

C bodies and the initial and final sections share one set of tokens; they differ in their
comments: ``/* */`` and ``//`` everywhere, ``(* *)`` (nested) outside bodies only, since in
C ``(*`` is a parenthesis and a star.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NoReturn

from mkold.base.errors import Pos, SourceError, UnsupportedError

_OPERATORS = (
    r"<<=|>>=|<>|\+\+|--|->|\+=|-=|\*=|/=|%=|&=|\|=|\^=|<<|>>|<=|>=|==|!=|&&|\|\||/\\|\\/|=>|."
)
_TOKEN = re.compile(
    r"(?:\s+|//[^\n]*|/\*.*?\*/)*([A-Za-z_]\w*|\d\w*|" + _OPERATORS + r"|\Z)", re.S
)
_OCAML_COMMENT = re.compile(r"\(\*|\*\)")


class UnsupportedSourceError(SourceError, UnsupportedError):
    """Well-formed as far as it goes, but a construct that mkold does not decide."""


class Text:
    """One file's text. Offsets count characters from 0."""

    __slots__ = ("_lines", "file", "text")

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self._lines: list[int] | None = None

    def pos(self, start: int, end: int) -> Pos:
        """The place of ``text[start:end]``."""
        lines = self._lines
        if lines is None:
            lines = self._lines = [0, *(m.end() for m in re.finditer("\n", self.text))]
        line = bisect_right(lines, start)
        first = lines[line - 1]
        return Pos(self.file, line, start - first + 1, end - first + 1)

    def offset(self, pos: Pos) -> int:
        """Where ``pos`` starts in the text."""
        assert self._lines is not None
        return self._lines[pos.line - 1] + pos.col - 1

    def error(
        self,
        reason: str,
        start: int,
        end: int = 0,
        hint: str = "",
        kind: type[SourceError] = SourceError,
    ) -> SourceError:
        """An error at ``text[start:end]``, with the line it stands on."""
        pos = self.pos(min(start, len(self.text)), max(end, start + 1))
        line = self.text.split("\n", pos.line)[pos.line - 1] if self.text else ""
        if len(line) > 200:
            line = ""
        return kind(reason, pos, line, hint)


class Tokens:
    """The tokens of a part of a source; the empty string marks the end.

    ``at`` is the index of the next token. Kept bare for speed: parsers index ``texts``, and
    ``starts``, the offsets, are found when they are first asked for.
    """

    __slots__ = ("_part", "_starts", "at", "source", "texts")

    def __init__(self, source: Text, text: str, start: int, end: int) -> None:
        """Tokens of ``text[start:end]``; ``text`` may be the source with blanks put in."""
        self.source = source
        self.texts: list[str] = _TOKEN.findall(text, start, end)
        self.at = 0
        self._part = (text, start, end)
        self._starts: list[int] | None = None
        if not self.texts or self.texts[-1]:
            self.texts.append("")

    @property
    def starts(self) -> list[int]:
        """The offset of each token."""
        if self._starts is None:
            text, start, end = self._part
            self._starts = [m.start(1) for m in _TOKEN.finditer(text, start, end)]
            if len(self._starts) < len(self.texts):
                self._starts.append(end)
        return self._starts

    def error(
        self, reason: str, *, hint: str = "", index: int | None = None,
        kind: type[SourceError] = SourceError,
    ) -> SourceError:  # fmt: skip
        """An error at token ``index`` (the next one if not given)."""
        i = min(self.at if index is None else index, len(self.texts) - 1)
        start = self.starts[i]
        return self.source.error(reason, start, start + len(self.texts[i]), hint, kind)

    def fail(
        self, reason: str, *, hint: str = "", index: int | None = None,
        kind: type[SourceError] = SourceError,
    ) -> NoReturn:  # fmt: skip
        """Raise ``error``."""
        raise self.error(reason, hint=hint, index=index, kind=kind)

    def expect(self, text: str, where: str) -> None:
        """Step over ``text`` or raise."""
        if self.texts[self.at] != text:
            found = self.texts[self.at]
            self.fail(f"expected '{text}' {where}, found {shown(found)}")
        self.at += 1


def shown(token: str) -> str:
    """A token as an error names it."""
    return f"'{token}'" if token else "the end of this part"


def blank_comments(source: Text, start: int, end: int) -> str:
    """The source with ``(* *)`` comments of ``[start:end]`` blanked, offsets unchanged."""
    text = source.text
    if text.find("(*", start, end) < 0:
        return text
    pieces, done, depth, opened = [], 0, 0, 0
    for match in _OCAML_COMMENT.finditer(text, start, end):
        if match.group() == "(*":
            if depth == 0:
                opened = match.start()
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                pieces += [text[done:opened], " " * (match.end() - opened)]
                done = match.end()
    if depth:
        raise source.error("this comment is never closed", opened, opened + 2)
    return "".join([*pieces, text[done:]])
