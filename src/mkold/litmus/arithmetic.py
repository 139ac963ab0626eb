"""C arithmetic on values of C's types: promotions, conversions, wrap-around.

Every operator's result is cut to its type where it might not fit; what it can be is known as
a range, so that most results need no cutting. Signed overflow wraps, as the kernel is
compiled (``-fno-strict-overflow``).

Source: C11, 6.3.1 (conversions) and 6.5 (expressions).
"""

from __future__ import annotations

from typing import NamedTuple

from mkold.ir.nodes import (
    WORD_MASK,
    Binary,
    Const,
    Expr,
    Select,
    Unary,
    evaluate_binary,
    evaluate_unary,
)
from mkold.litmus.types import BOOL, INT, LONG, UINT, ULONG, Type

# Binding strength, and the operator on words; an unsigned one where it differs.
BINARY = {
    "||": (1, "", ""), "&&": (2, "", ""), "|": (3, "or", "or"), "^": (4, "xor", "xor"),
    "&": (5, "and", "and"), "==": (6, "eq", "eq"), "!=": (6, "ne", "ne"),
    "<": (7, "slt", "ult"), "<=": (7, "sle", "ule"), ">": (7, "slt", "ult"),
    ">=": (7, "sle", "ule"), "<<": (8, "shl", "shl"), ">>": (8, "ashr", "lshr"),
    "+": (9, "add", "add"), "-": (9, "sub", "sub"), "*": (10, "mul", "mul"),
    "/": (10, "sdiv", "udiv"), "%": (10, "smod", "umod"),
}  # fmt: skip
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_TRUTHS = frozenset({"eq", "ne", "ult", "ule", "slt", "sle"})
ANY = -(1 << 63), (1 << 64) - 1


class Value(NamedTuple):
    """An expression with its C type, and the least and greatest value it may have."""

    expr: Expr
    type: Type
    low: int
    high: int


def of(expr: Expr, kind: Type) -> Value:
    """``expr``, any value of ``kind``."""
    return Value(expr, kind, kind.low, kind.high)


def constant(value: int, kind: Type) -> Value:
    """A literal."""
    return Value(Const(value & WORD_MASK), kind, value, value)


def literal(value: int, suffix: str, *, decimal: bool) -> Value:
    """An integer constant of the first type that holds it (C11, 6.4.4.1)."""
    suffix = suffix.lower()
    kinds = [UINT, ULONG] if "u" in suffix else [INT, LONG] if decimal else [INT, UINT, LONG]
    if "l" in suffix:
        kinds = kinds[-1:]
    kind = next((kind for kind in kinds if kind.holds(value, value)), ULONG)
    return constant(value, kind)


def truth(value: Value) -> Value:
    """``value`` as 0 or 1."""
    expr = value.expr
    if (isinstance(expr, Binary) and expr.op in _TRUTHS) or (
        isinstance(expr, Unary) and expr.op == "lnot"
    ):
        return value
    return Value(fold("ne", expr, Const(0)), INT, 0, 1)


def convert(value: Value, kind: Type) -> Value:
    """``value`` as ``kind``."""
    if kind is value.type:
        return value
    if kind is BOOL:
        return Value(truth(value).expr, BOOL, 0, 1)
    if value.type.target is not None and kind.bits >= INT.bits:
        return Value(value.expr, kind, *ANY)  # an address is one in any wide type
    if kind.target is not None:
        return Value(value.expr, kind, *ANY)
    return _cut(value.expr, kind, value.low, value.high)


def promoted(value: Value) -> Value:
    """``value`` as it takes part in arithmetic."""
    return value if value.type.bits >= INT.bits else value._replace(type=INT)


def _common(a: Value, b: Value) -> Type:
    """The usual arithmetic conversions; a pointer stays one."""
    for value in (a, b):
        if value.type.target is not None:
            return value.type
    x, y = a.type, b.type
    if x.bits != y.bits:
        return x if x.bits > y.bits else y
    return y if x.signed else x


def _cut(expr: Expr, kind: Type, low: int, high: int) -> Value:
    if kind.holds(low, high):
        return Value(expr, kind, low, high)
    if kind.cut:
        expr = unary_word(kind.cut, expr)
    return of(expr, kind)


def binary(sign: str, left: Value, right: Value) -> Value:
    """``left sign right``, both evaluated."""
    _, op, unsigned_op = BINARY[sign]
    a, b = promoted(left), promoted(right)
    if sign in ("<<", ">>"):
        kind = a.type
    else:
        kind = _common(a, b)
        a, b = convert(a, kind), convert(b, kind)
    if not kind.signed:
        op = unsigned_op
    if sign in _COMPARISONS:
        first, second = (b, a) if sign in (">", ">=") else (a, b)
        return Value(fold(op, first.expr, second.expr), INT, 0, 1)
    expr = fold(op, a.expr, b.expr)
    if kind.target is not None:
        minus = sign == "-" and left.type.target is not None and right.type.target is not None
        return Value(expr, LONG if minus else kind, *ANY)
    if isinstance(expr, Const):
        value = kind.wrapped(expr.value)
        return Value(Const(value & WORD_MASK), kind, value, value)
    return _cut(expr, kind, *_range(sign, a, b, kind))


def undefined(sign: str, left: Value, right: Value) -> str:
    """Why C gives ``left sign right`` no meaning, if a constant on the right shows it."""
    if not isinstance(right.expr, Const):
        return ""
    if sign in ("/", "%") and right.low == right.high == 0:
        return "division by zero"
    kind = promoted(left).type
    if sign in ("<<", ">>") and not 0 <= right.low < kind.bits:
        return f"a shift by {right.low}, and {kind.name} has {kind.bits} bits"
    return ""


def _range(sign: str, a: Value, b: Value, kind: Type) -> tuple[int, int]:
    """What ``a sign b`` may be before it is cut."""
    match sign:
        case "+":
            return a.low + b.low, a.high + b.high
        case "-":
            return a.low - b.high, a.high - b.low
        case "*":
            ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
            return min(ends), max(ends)
        case "&" if a.low >= 0 or b.low >= 0:
            return 0, min(v.high for v in (a, b) if v.low >= 0)
        case "&" | "^" | "|" if a.low >= 0 and b.low >= 0:
            return 0, (1 << max(a.high, b.high).bit_length()) - 1
        case "&" | "^" | "|" | "%":
            return kind.low, kind.high
        case "/":
            return min(a.low, -a.high), max(a.high, -a.low)
        case ">>":
            return min(a.low, 0), max(a.high, 0)
        case _:
            return ANY


def unary(sign: str, operand: Value) -> Value:
    """``-a``, ``~a``, ``!a`` or ``+a``."""
    if sign == "!":
        return Value(unary_word("lnot", operand.expr), INT, 0, 1)
    a = promoted(operand)
    if sign == "+":
        return a
    if sign == "-":
        return _cut(unary_word("neg", a.expr), a.type, -a.high, -a.low)
    return _cut(unary_word("not", a.expr), a.type, -1 - a.high, -1 - a.low)


def choice(cond: Value, a: Value, b: Value) -> Value:
    """``cond ? a : b``."""
    a, b = alike(a, b)
    return Value(Select(cond.expr, a.expr, b.expr), a.type, *spread(a, b))


def alike(a: Value, b: Value) -> tuple[Value, Value]:
    """Both in the type that arithmetic on them has."""
    a, b = promoted(a), promoted(b)
    kind = _common(a, b)
    return convert(a, kind), convert(b, kind)


def spread(a: Value, b: Value) -> tuple[int, int]:
    """What either of the two may be."""
    return min(a.low, b.low), max(a.high, b.high)


def fold(op: str, a: Expr, b: Expr) -> Expr:
    """A binary operator on words; constants are folded."""
    if isinstance(a, Const) and isinstance(b, Const):
        return Const(evaluate_binary(op, a.value, b.value))
    return Binary(op, a, b)


def unary_word(op: str, a: Expr) -> Expr:
    """A unary operator on a word; a constant is folded."""
    return Const(evaluate_unary(op, a.value)) if isinstance(a, Const) else Unary(op, a)
