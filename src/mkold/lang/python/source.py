"""Finds a function's syntax tree in its file, and where its nodes are."""

from __future__ import annotations

import ast
import linecache
from dataclasses import dataclass
from typing import Any

from mkold.base.errors import InputError, Pos, SourceError
from mkold.lang.meaning.source import Source


@dataclass(frozen=True, slots=True)
class PythonSource(Source):
    """One Python file's lines."""

    def pos(self, node: ast.AST) -> Pos:
        """Where ``node`` is; columns count characters, from 1."""
        line = int(getattr(node, "lineno", 1))
        text = self.line(line)
        col = _characters(text, int(getattr(node, "col_offset", 0)))
        end = len(text) + 1
        if getattr(node, "end_lineno", None) == line:
            end = _characters(text, int(getattr(node, "end_col_offset", 0))) + 1
        return Pos(self.file, line, col + 1, end)

    def error_at(self, node: ast.AST, reason: str, hint: str = "") -> SourceError:
        """An error that points at ``node``."""
        return self.error(self.pos(node), reason, hint)


_TREES: dict[str, tuple[tuple[str, ...], dict[tuple[str, int], ast.AST]]] = {}


def find(function: Any) -> tuple[PythonSource, ast.FunctionDef]:
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
    source = PythonSource(file, lines)
    node = _definitions(source).get((function.__name__, code.co_firstlineno))
    if isinstance(node, ast.FunctionDef):
        return source, node
    if isinstance(node, ast.AsyncFunctionDef):
        raise source.error_at(node, "a kernel function can't be async", "write a plain def")
    if function.__name__ == "<lambda>":
        at = Pos(file, code.co_firstlineno)
        raise source.error(at, "a lambda is no kernel function", "write a def")
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
