"""Finds a function's syntax tree in its file and makes errors that point into it."""

from __future__ import annotations

import ast
import linecache
from dataclasses import dataclass
from typing import Any

from mkold.base.errors import InputError, Pos, SourceError


@dataclass(frozen=True, slots=True)
class Source:
    """One file's lines, for positions and excerpts."""

    file: str
    lines: tuple[str, ...]

    def pos(self, node: ast.AST) -> Pos:
        """Where ``node`` is; columns count characters, from 1."""
        line = int(getattr(node, "lineno", 1))
        text = self.line(line)
        col = _characters(text, int(getattr(node, "col_offset", 0)))
        end = len(text) + 1
        if getattr(node, "end_lineno", None) == line:
            end = _characters(text, int(getattr(node, "end_col_offset", 0))) + 1
        return Pos(self.file, line, col + 1, end)

    def line(self, number: int) -> str:
        """The text of one line, without its end."""
        if 1 <= number <= len(self.lines):
            return self.lines[number - 1].rstrip("\n")
        return ""

    def error(self, node: ast.AST, reason: str, hint: str = "") -> SourceError:
        """A ``SourceError`` that points at ``node``."""
        return self.error_at(self.pos(node), reason, hint)

    def error_at(self, pos: Pos, reason: str, hint: str = "") -> SourceError:
        """A ``SourceError`` at a known position."""
        return SourceError(reason, pos, self.line(pos.line), hint)


_TREES: dict[str, tuple[tuple[str, ...], dict[tuple[str, int], ast.AST]]] = {}


def find(function: Any) -> tuple[Source, ast.FunctionDef]:
    """The source and the syntax tree of a Python function.

    Raises
    ------
    InputError : the source text is not available, or ``function`` is no plain function
    SourceError : it is an ``async`` function or a ``lambda``
    """
    code = getattr(function, "__code__", None)
    if code is None:
        raise InputError(f"@kernel takes a function, not {type(function).__name__}")
    file = code.co_filename
    linecache.checkcache(file)
    lines = tuple(linecache.getlines(file, function.__globals__))
    if not lines:
        raise InputError(f"the source of {function.__name__} is not available ({file})")
    source = Source(file, lines)
    node = _definitions(source).get((function.__name__, code.co_firstlineno))
    if isinstance(node, ast.FunctionDef):
        return source, node
    if isinstance(node, ast.AsyncFunctionDef):
        raise source.error(node, "a kernel function can't be async", "write a plain def")
    raise InputError(f"{file}:{code.co_firstlineno}: no function {function.__name__} here")


def _definitions(source: Source) -> dict[tuple[str, int], ast.AST]:
    """Functions of a file by name and first line (that of the first decorator)."""
    known = _TREES.get(source.file)
    if known is not None and known[0] == source.lines:
        return known[1]
    found: dict[tuple[str, int], ast.AST] = {}
    pending: list[ast.AST] = [ast.parse("".join(source.lines), source.file)]
    while pending:  # blocks only: no function hides in an expression
        outer = pending.pop()
        for block in ("body", "orelse", "handlers", "finalbody"):
            for node in getattr(outer, block, ()):
                pending.append(node)
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                    found[node.name, first] = node
    _TREES[source.file] = (source.lines, found)
    return found


def _characters(text: str, n_bytes: int) -> int:
    if text.isascii():
        return n_bytes
    return len(text.encode()[:n_bytes].decode(errors="ignore"))
