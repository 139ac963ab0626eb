"""Cuts a litmus test into name, initial state, bodies and final part.

As herd does, sections are found before any grammar runs: the head (name, comments, quoted
texts, ``Key=value`` lines) ends at the first brace outside comments and quotes; the
initial state ends at its closing brace; the final part starts at the first ``exists``,
``forall``, ``locations``, ``filter``, ``final`` or ``~`` outside the braces of the bodies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mkold.litmus.source import Text, UnsupportedSourceError

_NAME = re.compile(r"\s*([A-Za-z0-9]+)[ \t]+([^\s\"{(]\S*)")
_THREAD = re.compile(r"\b(P\d+)\s*\([^()]*\)\s*\Z")
_HEAD = re.compile(r'\(\*|"[^"]*"|\{|/\*.*?\*/', re.S)
_COMMENT = re.compile(r"\(\*|\*\)")
_BRACE = re.compile(r"\(\*|//[^\n]*|/\*.*?\*/|[{}]", re.S)
_BODY = re.compile(
    r"//[^\n]*|/\*.*?\*/|[{}]|~|\b(?:exists|forall|locations|filter|final|observed|not)\b", re.S
)


@dataclass(frozen=True, slots=True)
class Sections:
    """Offsets into the source: ``[start, end)`` of each part, braces left out."""

    name: str
    head_end: int
    initial: tuple[int, int]
    bodies: tuple[int, int]
    final: tuple[int, int]


def split(source: Text) -> Sections:
    """Find the parts.

    Raises
    ------
    SourceError : a part is missing, or the test is not one of C
    """
    text = source.text
    name = _NAME.match(text)
    if name is None:
        raise source.error(
            "a litmus test starts with its language and name", 0, hint="such as 'C my-test'"
        )
    if name.group(1) != "C":
        raise source.error(
            f"a test in {name.group(1)}, not in C",
            name.start(1), name.end(1), "mkold reads C tests for the Linux kernel",
            UnsupportedSourceError,
        )  # fmt: skip
    opened = _head_end(source, name.end())
    closed = _closing_brace(source, opened)
    bodies_end = _bodies_end(source, closed + 1)
    return Sections(
        name.group(2).removesuffix(".litmus") or name.group(2), opened, (opened + 1, closed),
        (closed + 1, bodies_end), (bodies_end, len(text)),
    )  # fmt: skip


def _skip_comment(source: Text, start: int) -> int:
    depth = 0
    for match in _COMMENT.finditer(source.text, start):
        depth += 1 if match.group() == "(*" else -1
        if depth == 0:
            return match.end()
    raise source.error("this comment is never closed", start, start + 2)


def _head_end(source: Text, start: int) -> int:
    while True:
        match = _HEAD.search(source.text, start)
        if match is None:
            raise source.error(
                "no initial state", len(source.text), hint="at least '{}' must follow the name"
            )
        if match.group() == "{":
            _check_no_thread(source, start, match.start())
            return match.start()
        if match.group() == "(*":
            start = _skip_comment(source, match.start())
        else:
            start = match.end()


def _check_no_thread(source: Text, start: int, opened: int) -> None:
    """The first brace must not be that of a thread's body."""
    thread = _THREAD.search(source.text, start, opened)
    if thread is not None:
        raise source.error(
            "the initial state is missing before the first thread",
            thread.start(1), thread.end(1), "write '{ }' if everything starts as 0",
        )  # fmt: skip


def _closing_brace(source: Text, opened: int) -> int:
    depth, start = 0, opened
    while match := _BRACE.search(source.text, start):
        start = match.end()
        if match.group() == "{":
            depth += 1
        elif match.group() == "}":
            depth -= 1
            if depth == 0:
                return match.start()
        elif match.group() == "(*":
            start = _skip_comment(source, match.start())
    raise source.error("this brace is never closed", opened, opened + 1)


def _bodies_end(source: Text, start: int) -> int:
    depth, opened = 0, start
    for match in _BODY.finditer(source.text, start):
        found = match.group()
        if found == "{":
            if depth == 0:
                opened = match.start()
            depth += 1
        elif found == "}":
            depth -= 1
            if depth < 0:
                raise source.error("this brace closes nothing", match.start(), match.end())
        elif found[0] != "/" and depth == 0:
            return match.start()
    if depth:
        raise source.error("this brace is never closed", opened, opened + 1)
    return len(source.text)
