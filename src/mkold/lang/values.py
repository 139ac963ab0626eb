"""What an expression of kernel Python is worth while it is lowered."""

from __future__ import annotations

from dataclasses import dataclass

from mkold.ir.nodes import (
    WORD_MASK,
    Binary,
    Const,
    Expr,
    Local,
    Param,
    Unary,
    evaluate_binary,
    evaluate_unary,
)
from mkold.lang.types import BOOL, U64, Type

COMPARISONS = frozenset({"eq", "ne", "ult", "ule", "slt", "sle"})


@dataclass(frozen=True, slots=True)
class Value:
    """A word: a pure expression and its type."""

    expr: Expr
    type: Type = U64


@dataclass(frozen=True, slots=True)
class Place:
    """A place in memory: its word address, the type of what is there, its source text."""

    address: Expr
    type: Type
    text: str


@dataclass(frozen=True, slots=True)
class Results:
    """What a call of a function with none or several results gives."""

    values: tuple[Value, ...]


Operand = Value | Place | Results
ZERO = Const(0)
ONE = Const(1)


def word(value: int) -> Const:
    """A constant, wrapped to a word."""
    return Const(value & WORD_MASK)


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


def truth(value: Value) -> Expr:
    """``value`` as 0 or 1.

    A local of the source may hold any word, whatever its type says; only what a test or a
    primitive just gave is known to be 0 or 1.
    """
    match value.expr:
        case Local(name) if value.type == BOOL and "." in name:
            return value.expr
    return value.expr if is_truth(value.expr) else binary("ne", value.expr, ZERO)


def negate(value: Value) -> Value:
    """``not value``."""
    match value.expr:
        case Binary("eq", a, b):
            return Value(Binary("ne", a, b), BOOL)
        case Binary("ne", a, b):
            return Value(Binary("eq", a, b), BOOL)
    return Value(unary("lnot", value.expr), BOOL)


def is_atom(expr: Expr) -> bool:
    """Whether ``expr`` may be written twice at no cost."""
    return isinstance(expr, Const | Local | Param)
