"""Arithmetic of the form over anything that can stand for a word.

What a primitive computes is said once (``mkold.ir.access``) and holds for numbers, for
expressions of the form, and for whatever a back end makes of words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mkold.ir.nodes import (
    WORD_MASK,
    Binary,
    Const,
    Expr,
    Unary,
    evaluate_binary,
    evaluate_unary,
)

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Algebra(Generic[V]):
    """A constant, the operators of ``ir.nodes.UNARY``, those of ``ir.nodes.BINARY``."""

    word: Callable[[int], V]
    unary: Callable[[str, V], V]
    binary: Callable[[str, V, V], V]


def binary(op: str, a: Expr, b: Expr) -> Expr:
    """``a op b``; numbers are folded, and what adds or shifts by nothing is left out."""
    if isinstance(a, Const) and isinstance(b, Const):
        return Const(evaluate_binary(op, a.value, b.value))
    if b == Const(0) and op in ("add", "sub", "or", "xor", "shl", "lshr", "ashr"):
        return a
    return b if a == Const(0) and op in ("add", "or", "xor") else Binary(op, a, b)


def unary(op: str, a: Expr) -> Expr:
    """``op a``; a number is folded."""
    return Const(evaluate_unary(op, a.value)) if isinstance(a, Const) else Unary(op, a)


WORDS: Algebra[int] = Algebra(lambda n: n & WORD_MASK, evaluate_unary, evaluate_binary)
EXPRESSIONS: Algebra[Expr] = Algebra(lambda n: Const(n & WORD_MASK), unary, binary)
