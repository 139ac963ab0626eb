"""Expressions: pure, over locals and constants."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Const:
    """A constant word, ``0 <= value < 2**64``. ``symbol`` is only for printing."""

    value: int
    symbol: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Param:
    """A build-time parameter (a table geometry, say); ``ir.edit.bind`` replaces it."""

    name: str


@dataclass(frozen=True, slots=True)
class Local:
    """The value of a local variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """``op`` is one of ``UNARY``: -a, ~a, !a, (u8)a, (s8)a ..."""

    op: str
    a: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    """``op`` is one of ``BINARY``."""

    op: str
    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True)
class Select:
    """``a`` if ``cond`` is non-zero, else ``b``; no branch, so no control dependency."""

    cond: Expr
    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True)
class FunctionWord:
    """The word that stands for a function: what a pointer to it holds.

    ``name`` is the function's in its program; ``key`` its ``module:name``, from which the
    word is made (``name`` if empty), so that every build and reading has the same one.
    """

    name: str
    key: str = ""

    @property
    def word(self) -> int:
        """A hash of the key among words that are no address."""
        return _function_word(self.key or self.name)


Expr = Const | Param | Local | Unary | Binary | Select | FunctionWord


def parts(expr: Expr) -> Iterator[Expr]:
    """``expr`` and every expression in it, outer before inner."""
    yield expr
    match expr:
        case Unary(_, a):
            yield from parts(a)
        case Binary(_, a, b):
            yield from parts(a)
            yield from parts(b)
        case Select(c, a, b):
            for part in (c, a, b):
                yield from parts(part)
        case _:
            pass


def map_parts(expr: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """``expr`` rebuilt; ``change`` gives a part's replacement, or ``None`` to keep it."""
    new = change(expr)
    if new is not None:
        return new
    match expr:
        case Unary(op, a):
            return Unary(op, map_parts(a, change))
        case Binary(op, a, b):
            return Binary(op, map_parts(a, change), map_parts(b, change))
        case Select(cond, a, b):
            return Select(*(map_parts(part, change) for part in (cond, a, b)))
        case _:
            return expr


def locals_of(expr: Expr) -> Iterator[str]:
    """Names of the locals that ``expr`` reads, with repeats."""
    return (part.name for part in parts(expr) if isinstance(part, Local))


@functools.cache
def _function_word(key: str) -> int:
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(b"\xf1" + digest[:7])
