"""What an expression is worth while a function is built."""

from __future__ import annotations

from dataclasses import dataclass

from mkold.base.errors import Pos
from mkold.ir.nodes import (
    WORD_MASK,
    Binary,
    Const,
    Expr,
    FunctionWord,
    Local,
    Param,
    Unary,
    evaluate_binary,
    evaluate_unary,
)
from mkold.lang.types.structs import Type

COMPARISONS = frozenset({"eq", "ne", "ult", "ule", "slt", "sle"})
ZERO = Const(0)
ONE = Const(1)


@dataclass(frozen=True, slots=True)
class Value:
    """One word that was computed, without a place in memory.

    Attributes
    ----------
    expr : pure; a number of a narrow type is in it extended to 64 bits by its sign
    type : what it is
    at : where the source says so
    exact : a constant's number, before anything wraps; ``None`` if it is no constant
    depth : how deep ``expr`` is
    """

    expr: Expr
    type: Type
    at: Pos
    exact: int | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A place in memory.

    Attributes
    ----------
    address : its word
    type : what is there
    text : as the source names it
    at : where
    shift : the bit of the word at which it begins, if it is a part of a word
    is_part : it is a part of a word
    """

    address: Expr
    type: Type
    text: str
    at: Pos
    shift: int = 0
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class Results:
    """What a call gives that has no result, or several."""

    values: tuple[Value, ...]
    at: Pos


Operand = Value | Place | Results


def word(number: int) -> Const:
    """A constant, wrapped to a word."""
    return Const(number & WORD_MASK)


def binary(op: str, a: Expr, b: Expr) -> Expr:
    """``a op b``, folded where both are unnamed constants."""
    if isinstance(a, Const) and isinstance(b, Const) and not (a.symbol or b.symbol):
        return Const(evaluate_binary(op, a.value, b.value))
    if op == "add" and b == ZERO:
        return a
    if op == "add" and a == ZERO:
        return b
    if op == "mul" and b == ONE:
        return a
    if op == "add" and isinstance(b, Const) and isinstance(a, Binary) and a.op == "add":
        inner = a.b
        if isinstance(inner, Const) and not (inner.symbol or b.symbol):
            return binary("add", a.a, Const((inner.value + b.value) & WORD_MASK))
    return Binary(op, a, b)


def unary(op: str, a: Expr) -> Expr:
    """``op a``, folded where ``a`` is an unnamed constant."""
    if isinstance(a, Const) and not a.symbol:
        return Const(evaluate_unary(op, a.value))
    return Unary(op, a)


def is_truth(expr: Expr) -> bool:
    """Whether ``expr`` is surely 0 or 1."""
    match expr:
        case Const(value):
            return value < 2
        case Unary("lnot", _):
            return True
        case Binary(op, a, b):
            return op in COMPARISONS or (
                op in ("and", "or", "xor") and is_truth(a) and is_truth(b)
            )
        case _:
            return False


def negated(expr: Expr) -> Expr:
    """1 if ``expr`` is 0, else 0."""
    match expr:
        case Binary("eq", a, b):
            return Binary("ne", a, b)
        case Binary("ne", a, b):
            return Binary("eq", a, b)
    return unary("lnot", expr)


def is_atom(expr: Expr) -> bool:
    """Whether ``expr`` may be written twice at no cost."""
    return isinstance(expr, Const | Local | Param | FunctionWord)
