"""Values and guards for many choices of what reads find at once, as arrays.

Known limits: none of its own; ``possible`` decides how many choices are too many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mkold.ir.nodes import NARROW, WORD_BITS
from mkold.lkmm.graph.events import Decision
from mkold.lkmm.sat.walk import Walk

Column = NDArray[np.uint64]
Truth = NDArray[np.bool_]
ONE, ZERO = np.uint64(1), np.uint64(0)


class Columns(Walk[Column, Truth]):
    """``reads`` gives the words of each read, and of free decision k at ``-1 - k``."""

    def __init__(
        self, decisions: Sequence[Decision], reads: Mapping[int, Column], n: int
    ) -> None:
        super().__init__(decisions)
        self.reads, self.n = reads, n

    def word(self, word: int) -> Column:
        return np.array([word], np.uint64)  # numpy repeats it as needed

    def found(self, read: int) -> Column:
        return self.reads[read]

    def applied(self, op: str, a: Column) -> Column:
        return unary(op, a)

    def combined(self, op: str, a: Column, b: Column) -> Column:
        return binary(op, a, b)

    def chosen(self, cond: Column, a: Column, b: Column) -> Column:
        return np.where(cond != ZERO, a, b)

    def met(self, guard: Truth, a: Column, b: Column) -> Column:
        return np.where(guard, a, b)

    def always(self, holds: bool) -> Truth:
        return np.array([holds])

    def taken(self, decision: int, guard: Truth, cond: Column | None) -> Truth:
        way = self.reads[-1 - decision] if cond is None else cond
        goes: Truth = way != ZERO
        return guard & goes

    def opposite(self, guard: Truth) -> Truth:
        return ~guard

    def both(self, a: Truth, b: Truth) -> Truth:
        return a & b

    def either(self, a: Truth, b: Truth) -> Truth:
        return a | b


def unary(op: str, a: Column) -> Column:
    """``op`` of ``mkold.ir.nodes.UNARY`` on each word."""
    if op in NARROW:
        width, signed = NARROW[op]
        left = np.uint64(WORD_BITS - width)
        if signed:
            return ((a << left).view(np.int64) >> left.astype(np.int64)).view(np.uint64)
        return (a << left) >> left
    if op == "neg":
        return ZERO - a
    return ~a if op == "not" else (a == ZERO).astype(np.uint64)


def binary(op: str, a: Column, b: Column) -> Column:
    """``op`` of ``mkold.ir.nodes.BINARY`` on each pair of words."""
    with np.errstate(all="ignore"):
        return _BINARY[op](a, b)


def _signed(a: Column) -> NDArray[np.int64]:
    return a.view(np.int64)


def _truth(test: Truth) -> Column:
    return test.astype(np.uint64)


def _shifted(op: str) -> Callable[[Column, Column], Column]:
    most = np.uint64(WORD_BITS - 1)

    def shift(a: Column, b: Column) -> Column:
        by = np.minimum(b, most)
        if op == "ashr":
            return (_signed(a) >> _signed(by)).view(np.uint64)
        moved = a << by if op == "shl" else a >> by
        return np.where(b > most, ZERO, moved)

    return shift


def _divided(a: Column, b: Column) -> tuple[Column, Column]:
    safe = np.where(b == ZERO, ONE, b)
    zero = b == ZERO
    return np.where(zero, ZERO, a // safe), np.where(zero, ZERO, a % safe)


def _divided_signed(a: Column, b: Column) -> tuple[Column, Column]:
    """Towards 0; the remainder has the sign of ``a``."""
    top = np.uint64(WORD_BITS - 1)
    minus_a, minus_b = (a >> top) == ONE, (b >> top) == ONE
    size_a, size_b = np.where(minus_a, ZERO - a, a), np.where(minus_b, ZERO - b, b)
    quotient, rest = _divided(size_a, size_b)
    return (np.where(minus_a != minus_b, ZERO - quotient, quotient),
            np.where(minus_a, ZERO - rest, rest))  # fmt: skip


_BINARY: dict[str, Callable[[Column, Column], Column]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "udiv": lambda a, b: _divided(a, b)[0],
    "umod": lambda a, b: _divided(a, b)[1],
    "sdiv": lambda a, b: _divided_signed(a, b)[0],
    "smod": lambda a, b: _divided_signed(a, b)[1],
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": _shifted("shl"),
    "lshr": _shifted("lshr"),
    "ashr": _shifted("ashr"),
    "eq": lambda a, b: _truth(a == b),
    "ne": lambda a, b: _truth(a != b),
    "ult": lambda a, b: _truth(a < b),
    "ule": lambda a, b: _truth(a <= b),
    "slt": lambda a, b: _truth(_signed(a) < _signed(b)),
    "sle": lambda a, b: _truth(_signed(a) <= _signed(b)),
}
