"""What edits change, shown in the source as people write it.

Each edit is made in the text of the file: the call at its place is found by line and column,
and it, or the statement around it, is written anew. The result is for reading; what is decided
is the edit of the intermediate form (``ir.variant``).

Known limits: an edit of what another edit put in, or of source that is no Python, can't be made
in the text; ``changes`` says so with None.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath

from mkold.base.errors import Pos
from mkold.ir.nodes import Function
from mkold.ir.prims import PRIMS, Shape, When
from mkold.ir.variant import Before, Drop, Edit, Exchange, Force, Set, Skip, Split, Swap, sites

_NEW = {
    "add": "old + {}", "sub": "old - {}", "or": "old | {}", "and": "old & {}",
    "andnot": "old & ~({})", "xor": "old ^ {}", "set": "{}",
}  # fmt: skip
_CONTEXT = 2


class _CantError(Exception):
    """The text has no such place, or two edits meet in it."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """From ``start`` to ``end`` in the text of ``file`` there is ``new`` now."""

    file: str
    start: int
    end: int
    new: str


def changes(functions: Mapping[str, Function], edits: tuple[Edit, ...]) -> str | None:
    """A unified diff of the files that ``edits`` change; None if it can't be."""
    places = {site.name: site.at for site in sites(functions)}
    texts = _Texts()
    try:
        pieces = [
            piece
            for edit in edits
            if not isinstance(edit, Set)
            for piece in _pieces(edit, functions, places, texts)
        ]
        return "\n".join(_diff(pieces, texts))
    except _CantError:
        return None


def _pieces(
    edit: Edit,
    functions: Mapping[str, Function],
    places: Mapping[str, Pos | None],
    texts: _Texts,
) -> Iterator[_Piece]:
    assert not isinstance(edit, Set)
    if isinstance(edit, Skip):
        yield texts.skipped(functions[edit.function])
        return
    call = texts.call(places.get(_full(edit.place)))
    match edit:
        case Drop():
            yield call.gone()
        case Swap(prim=prim):
            yield call.instead(_swapped(call.node, prim))
        case Split():
            yield call.split()
        case Force(taken=taken):
            yield call.forced(taken)
        case Exchange(other=place):
            other = texts.call(places.get(_full(place)))
            yield call.statement_instead(other.statement_text)
            yield other.statement_instead(call.statement_text)
        case Before(other=place):
            other = texts.call(places.get(_full(place)))
            yield call.statement_gone()
            yield other.before(call.statement_text)


def _full(place: str) -> str:
    return place if place.endswith("]") else f"{place}[0]"


def _swapped(call: ast.expr, prim: str) -> str:
    """The call as one of ``prim``, which may take less."""
    if not isinstance(call, ast.Call):
        raise _CantError
    args = [ast.unparse(arg) for arg in call.args]
    name = ast.unparse(call.func)
    old, new = PRIMS.get(name), PRIMS[prim]
    if prim == "load":
        return args[0]
    if old is not None and old.when is When.EQUAL and new.when is not When.EQUAL:
        args = [args[0], args[2]]  # what was to be found there counts no more
    if prim == "store":
        return f"{args[0]} = {args[1]}"
    return f"{prim}({', '.join(args)})"


class _Texts:
    """The files, each read and parsed once."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, ast.Module]] = {}

    def of(self, file: str) -> tuple[str, ast.Module]:
        if file not in self._files:
            try:
                text = Path(file).read_text(encoding="utf-8")
                self._files[file] = text, ast.parse(text)
            except (OSError, SyntaxError, ValueError) as error:
                raise _CantError from error
        return self._files[file]

    def call(self, at: Pos | None) -> _Call:
        """The expression at a place, with the statement around it."""
        if at is None:
            raise _CantError
        text, tree = self.of(at.file)
        found: list[tuple[ast.expr, ast.stmt, list[ast.stmt]]] = []
        for parent in ast.walk(tree):
            for body in _bodies(parent):
                for stmt in body:
                    found += [(e, stmt, body) for e in _expressions(stmt) if _is_at(e, at)]
        if not found:
            raise _CantError
        calls = [one for one in found if isinstance(one[0], ast.Call)] or found
        return _Call(at.file, text, *calls[0])

    def skipped(self, function: Function) -> _Piece:
        """The function does nothing: it returns before its first statement."""
        if function.at is None:
            raise _CantError
        text, tree = self.of(function.at.file)
        name = function.name.rpartition(".")[2]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == name:
                said = ast.get_docstring(node) is not None and len(node.body) > 1
                first = node.body[1 if said else 0]
                start = _offset(text, first.lineno, first.col_offset)
                none = node.returns is None or _is_none(node.returns)
                new = "return" if none else "return 0"
                new = f"{new}\n{' ' * first.col_offset}"
                return _Piece(function.at.file, start, start, new)
        raise _CantError


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        body = getattr(node, name, None)
        if isinstance(body, list):
            yield body


def _expressions(stmt: ast.stmt) -> Iterator[ast.expr]:
    """Those of the statement itself, not of statements within."""
    for child in ast.iter_child_nodes(stmt):
        if isinstance(child, ast.expr):
            yield from (node for node in ast.walk(child) if isinstance(node, ast.expr))


def _is_at(node: ast.expr, at: Pos) -> bool:
    """Whether it begins there and, if it ends in the line, ends there too."""
    if (node.lineno, node.col_offset) != (at.line, at.col - 1):
        return False
    return node.end_lineno != at.line or node.end_col_offset == at.end - 1


def _offset(text: str, line: int, column: int) -> int:
    """Of a place as ``ast`` has it: lines from 1, columns in bytes from 0."""
    lines = text.splitlines(keepends=True)
    head = lines[line - 1].encode()[:column].decode(errors="ignore")
    return sum(map(len, lines[: line - 1])) + len(head)


@dataclass(frozen=True, slots=True)
class _Call:
    """An expression of ``file`` and the statement of ``body`` that it is in."""

    file: str
    text: str
    node: ast.expr
    stmt: ast.stmt
    body: list[ast.stmt]

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        return (
            _offset(self.text, node.lineno, node.col_offset),
            _offset(self.text, node.end_lineno or 0, node.end_col_offset or 0),
        )

    @property
    def statement_text(self) -> str:
        start, end = self._span(self.stmt)
        return self.text[start:end]

    def instead(self, new: str) -> _Piece:
        """``new`` in place of the call; a store is a statement."""
        return _Piece(self.file, *self._span(self.node), new)

    def statement_instead(self, new: str) -> _Piece:
        return _Piece(self.file, *self._span(self.stmt), new)

    def statement_gone(self) -> _Piece:
        """The statement and its line; a block is never left empty."""
        if len(self.body) == 1:
            return self.statement_instead("pass")
        start = _offset(self.text, self.stmt.lineno, 0)
        _, end = self._span(self.stmt)
        newline = self.text.find("\n", end)
        return _Piece(self.file, start, len(self.text) if newline < 0 else newline + 1, "")

    def gone(self) -> _Piece:
        """Without the call: its statement, or 0 where its result is used."""
        whole = isinstance(self.stmt, ast.Expr) and self.stmt.value is self.node
        return self.statement_gone() if whole else self.instead("0")

    def before(self, statement: str) -> _Piece:
        """``statement`` on lines before this one."""
        start, _ = self._span(self.stmt)
        return _Piece(self.file, start, start, f"{statement}\n{' ' * self.stmt.col_offset}")

    def split(self) -> _Piece:
        """A read-modify-write as a read and a write."""
        if not isinstance(self.node, ast.Call):
            raise _CantError
        row = PRIMS[ast.unparse(self.node.func)]
        args = [ast.unparse(arg) for arg in self.node.args]
        if row.shape is not Shape.RMW or not args:
            raise _CantError
        indent = " " * self.stmt.col_offset
        given = str(row.operand) if row.operand is not None else args[-1]
        write = f"WRITE_ONCE({args[0]}, {_NEW.get(row.op, '...').format(given)})"
        if row.when is When.EQUAL:
            write = f"if old == {args[1]}:\n{indent}    {write}"
        head = f"old = READ_ONCE({args[0]})\n{indent}{write}"
        start, end = self._span(self.stmt)
        if isinstance(self.stmt, ast.Expr) and self.stmt.value is self.node:
            return _Piece(self.file, start, end, head)
        inner, after = self._span(self.node)
        rest = f"{self.text[start:inner]}old{self.text[after:end]}"
        rest = "" if rest == "old = old" else f"\n{indent}{rest}"
        return _Piece(self.file, start, end, head + rest)

    def forced(self, taken: int) -> _Piece:
        """The condition of the branch at the call, or the next behind it, is known."""
        where = next(i for i, stmt in enumerate(self.body) if stmt is self.stmt)
        for stmt in self.body[where:]:
            if isinstance(stmt, ast.If | ast.While):
                return _Piece(self.file, *self._span(stmt.test), str(bool(taken)))
        raise _CantError


def _diff(pieces: list[_Piece], texts: _Texts) -> Iterator[str]:
    for file in sorted({piece.file for piece in pieces}):
        mine = sorted((p for p in pieces if p.file == file), key=lambda p: (p.start, p.end))
        if any(a.end > b.start for a, b in pairwise(mine)):
            raise _CantError
        text, _ = texts.of(file)
        new, at = [], 0
        for piece in mine:
            new += [text[at : piece.start], piece.new]
            at = piece.end
        changed = "".join([*new, text[at:]])
        name = _name(file)
        yield from difflib.unified_diff(
            text.splitlines(), changed.splitlines(), name, name, lineterm="", n=_CONTEXT
        )


def _name(file: str) -> str:
    """From the package's folder on; of other files the name."""
    parts = PurePath(file).parts
    if "mkold" in parts:
        return "/".join(parts[len(parts) - parts[::-1].index("mkold") :])
    return parts[-1]
