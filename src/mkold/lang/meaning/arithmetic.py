"""Operators and comparisons: C's, with constants computed exactly.

Rules
-----
* Both operands are converted to their common type (``types.words``), the result wraps at
  it. A shift has the type of its left operand; one by 64 or more gives 0 (to the right, of
  a signed number, the sign). Dividing signed numbers cuts towards zero, by zero gives 0.
* Constants have no width among themselves: ``(1 << 64) - 1`` is what it says. What meets
  another operand, or is left alone, must fit a word.
* An address moves by elements; the difference of two is a signed count of elements. In
  any other arithmetic it is a ``u64``.
* Comparing an unsigned number with a literal 0 by ``<`` or ``>=`` is refused: it decides
  nothing, and a sign was meant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mkold.base.errors import Pos
from mkold.ir.nodes import WORD_MASK, Const, Expr, Select, evaluate_binary
from mkold.lang.meaning.builder import Builder
from mkold.lang.meaning.convert import as_number, is_pointer, shown, to_number
from mkold.lang.meaning.values import Value, binary, negated, unary, word
from mkold.lang.types.structs import (
    NULL_TYPE,
    FunctionPointer,
    Pointer,
    Type,
    fits,
    n_words,
)
from mkold.lang.types.words import BOOL, S64, U64, Word, alone, common, of_constant, promoted

# By the operator's name: for unsigned and for signed numbers.
_OPERATORS = {
    "add": ("add", "add"), "sub": ("sub", "sub"), "mul": ("mul", "mul"),
    "div": ("udiv", "sdiv"), "mod": ("umod", "smod"),
    "and": ("and", "and"), "or": ("or", "or"), "xor": ("xor", "xor"),
    "shl": ("shl", "shl"), "shr": ("lshr", "ashr"),
}  # fmt: skip
# Of these a result may leave its type's range.
_OVERFLOWS = frozenset({"add", "sub", "mul", "shl", "sdiv"})
_BITWISE = frozenset({"and", "or", "xor"})
_COMPARISONS = {  # operators, operands swapped
    "eq": ("eq", "eq", False), "ne": ("ne", "ne", False),
    "lt": ("ult", "slt", False), "le": ("ule", "sle", False),
    "gt": ("ult", "slt", True), "ge": ("ule", "sle", True),
}  # fmt: skip
_EXACT: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "div": lambda a, b: a // b, "mod": lambda a, b: a % b,
    "and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b, "shr": lambda a, b: a >> b,
    "eq": lambda a, b: int(a == b), "ne": lambda a, b: int(a != b),
    "lt": lambda a, b: int(a < b), "le": lambda a, b: int(a <= b),
    "gt": lambda a, b: int(a > b), "ge": lambda a, b: int(a >= b),
}  # fmt: skip
# Constants may be larger than a word on the way to one that fits, but not endlessly.
_MAX_BITS = 256


def number(b: Builder, value: int, at: Pos, symbol: str = "") -> Value:
    """A constant of the source; ``symbol`` is its name, if it has one.

    Raises
    ------
    SourceError : it does not fit a word
    """
    found = Value(Const(value & WORD_MASK, symbol), alone(value), at, value)
    return to_number(b, found, alone(value))


def boolean(value: bool, at: Pos) -> Value:
    """A truth value of the source."""
    return Value(Const(int(value)), BOOL, at, int(value))


def null(at: Pos) -> Value:
    """NULL."""
    return Value(Const(0), NULL_TYPE, at)


def operate(b: Builder, op: str, x: Value, y: Value, at: Pos) -> Value:
    """``x op y``; ``op`` is one of add sub mul div mod and or xor shl shr.

    Raises
    ------
    SourceError : it means nothing (the sum of two pointers, a division by a constant 0)
    """
    if op in ("div", "mod") and y.exact == 0:
        raise b.error(at, "a division by zero")
    if x.exact is not None and y.exact is not None:
        return _exact(b, op, x, y, at)
    if op in ("add", "sub") and (is_pointer(x) or is_pointer(y)):
        return _moved(b, op, x, y, at)
    if op in _BITWISE and x.type == BOOL and y.type == BOOL:
        return _made(b, op, x, y, BOOL, at)
    if op in ("shl", "shr"):
        type_ = as_number(x) if x.exact is not None else promoted(as_number(x))
        return _made(b, op, to_number(b, x, type_), plain(b, y), type_, at)
    type_ = _common(x, y)
    return _made(b, op, to_number(b, x, type_), to_number(b, y, type_), type_, at)


def _common(x: Value, y: Value) -> Word:
    a, b = (
        as_number(v) if v.exact is None or v.type == BOOL else of_constant(v.exact)
        for v in (x, y)
    )
    return common(a, b)


def plain(b: Builder, value: Value) -> Value:
    """A count of bits or elements: its number, extended to 64 bits."""
    return value if value.exact is None else to_number(b, value, alone(value.exact))


def _made(b: Builder, op: str, x: Value, y: Value, type_: Word, at: Pos) -> Value:
    x, y = b.shallow(x), b.shallow(y)
    name = _OPERATORS[op][type_.signed]
    expr = binary(name, x.expr, y.expr)
    if name in _OVERFLOWS and type_.operator:
        expr = unary(type_.operator, expr)
    return Value(expr, type_, at, depth=1 + max(x.depth, y.depth))


def _exact(b: Builder, op: str, x: Value, y: Value, at: Pos) -> Value:
    """Both are constants: computed without a width; names stay in the expression."""
    assert x.exact is not None
    assert y.exact is not None
    if op in ("shl", "shr") and not 0 <= y.exact <= _MAX_BITS:
        raise b.error(at, f"a shift by {shown(y.exact)} bits")
    result = _EXACT[op](x.exact, y.exact)
    if result.bit_length() > _MAX_BITS:
        raise b.error(at, f"the constant {shown(result)} does not fit a 64-bit word")
    both = op in _BITWISE and x.type == BOOL and y.type == BOOL
    type_ = BOOL if both else alone(result)
    expr: Expr = word(result)
    depth = 1 + max(x.depth, y.depth)
    name = _OPERATORS[op][0]
    words = (x.exact & WORD_MASK, y.exact & WORD_MASK)
    if evaluate_binary(name, *words) == result & WORD_MASK and depth < _MAX_BITS:
        expr = binary(name, x.expr, y.expr)
    return Value(expr, type_, at, result, 0 if isinstance(expr, Const) else depth)


# Addresses.


def _moved(b: Builder, op: str, x: Value, y: Value, at: Pos) -> Value:
    if is_pointer(x) and is_pointer(y):
        if op == "add":
            raise b.error(at, "the sum of two pointers means nothing")
        size = _step(b, x.type, at)
        difference = binary("sub", x.expr, y.expr)
        return Value(
            binary("sdiv", difference, word(size)) if size > 1 else difference, S64, at
        )
    if is_pointer(y):
        if op == "sub":
            raise b.error(at, "a pointer can't be taken from a number")
        x, y = y, x
    count = plain(b, b.shallow(y))
    step = binary("mul", count.expr, word(_step(b, x.type, at)))
    return Value(binary(op, x.expr, step), x.type, at, depth=1 + max(x.depth, count.depth))


def _step(b: Builder, pointer: Type, at: Pos) -> int:
    if not isinstance(pointer, Pointer):
        raise b.error(at, "a pointer to a function can't be moved")
    if pointer.target is None:
        raise b.error(at, "NULL can't be moved")
    return n_words(pointer.target)


# One operand.


def negative(b: Builder, x: Value, at: Pos) -> Value:
    """``-x``."""
    return _unary(b, "neg", x, at, lambda n: -n)


def positive(b: Builder, x: Value, at: Pos) -> Value:
    """``+x``: promoted, no more."""
    type_ = as_number(x)
    if x.exact is None and type_ != BOOL:
        type_ = promoted(type_)
    return to_number(b, x, type_) if x.exact is None else x


def inverted(b: Builder, x: Value, at: Pos) -> Value:
    """``~x``."""
    return _unary(b, "not", x, at, lambda n: ~n)


def _unary(b: Builder, op: str, x: Value, at: Pos, exact: Callable[[int], int]) -> Value:
    x = b.shallow(x)
    if x.exact is not None:
        result = exact(x.exact)
        return Value(unary(op, x.expr), alone(result), at, result, x.depth + 1)
    type_ = promoted(as_number(x))
    expr = unary(op, x.expr)
    if type_.operator and not (op == "not" and type_.signed):
        expr = unary(type_.operator, expr)
    return Value(expr, type_, at, depth=x.depth + 1)


def refused(x: Value, at: Pos) -> Value:
    """``not x``."""
    exact = None if x.exact is None else int(x.exact == 0)
    return Value(negated(x.expr), BOOL, at, exact, x.depth + 1)


# Comparisons and choices.


def compare(b: Builder, op: str, x: Value, y: Value, at: Pos) -> Value:
    """``x op y``; ``op`` is one of eq ne lt le gt ge.

    Raises
    ------
    SourceError : it is always true, or never, by the types alone
    """
    if x.exact is not None and y.exact is not None:
        result = _EXACT[op](x.exact, y.exact)
        return Value(Const(result), BOOL, at, result)
    type_ = U64 if is_pointer(x) or is_pointer(y) else _common(x, y)
    _check_decides(b, op, x, y, type_, at)
    x, y = (_compared(b, op, v, type_) for v in (x, y))
    unsigned, signed, is_swapped = _COMPARISONS[op]
    pair = (y.expr, x.expr) if is_swapped else (x.expr, y.expr)
    expr = binary(signed if type_.signed else unsigned, *pair)
    return Value(expr, BOOL, at, depth=1 + max(x.depth, y.depth))


def _compared(b: Builder, op: str, x: Value, type_: Word) -> Value:
    if isinstance(x.type, FunctionPointer) and op in ("eq", "ne"):
        return replace(b.shallow(x), type=U64)
    return to_number(b, b.shallow(x), type_)


def _check_decides(b: Builder, op: str, x: Value, y: Value, type_: Word, at: Pos) -> None:
    zero = Const(0)
    low = op in ("lt", "ge") and y.expr == zero and not _has_name(y.expr)
    high = op in ("gt", "le") and x.expr == zero and not _has_name(x.expr)
    if type_.signed or not (low or high):
        return
    other = x if low else y
    never = "never" if op in ("lt", "gt") else "always"
    reason = f"{_shown_type(other)} has no sign, so this is {never} true"
    raise b.error(at, reason, "give it a signed type (int, s64) if it may be negative")


def _has_name(expr: Expr) -> bool:
    return isinstance(expr, Const) and bool(expr.symbol)


def _shown_type(value: Value) -> str:
    return f"this {value.type}"


def unified(b: Builder, x: Value, y: Value, at: Pos) -> tuple[Value, Value, Type]:
    """Two values of which one is chosen, at their common type.

    Raises
    ------
    SourceError : pointers to different things
    """
    if is_pointer(x) and is_pointer(y):
        if fits(x.type, y.type):
            return x, y, y.type
        if fits(y.type, x.type):
            return x, y, x.type
        raise b.error(at, f"one side is {x.type}, the other {y.type}", "cast one of them")
    if x.type == y.type and x.exact is None and y.exact is None:
        return x, y, x.type
    if x.type == BOOL and y.type == BOOL:
        return x, y, BOOL
    both = x.exact is not None and y.exact is not None
    if is_pointer(x) or is_pointer(y):
        type_ = U64
    elif both:
        assert x.exact is not None
        assert y.exact is not None
        type_ = alone(min(x.exact, y.exact))
    else:
        type_ = _common(x, y)
    return to_number(b, x, type_), to_number(b, y, type_), type_


def chosen(b: Builder, cond: Value, x: Value, y: Value, at: Pos) -> Value:
    """``x`` if ``cond`` else ``y``, without a branch."""
    x, y, type_ = unified(b, x, y, at)
    cond, x, y = (b.shallow(v) for v in (cond, x, y))
    depth = 1 + max(cond.depth, x.depth, y.depth)
    return Value(Select(cond.expr, x.expr, y.expr), type_, at, depth=depth)


def extreme(b: Builder, values: list[Value], at: Pos, *, is_min: bool) -> Value:
    """The least or the greatest of two or more numbers."""
    best = b.atom(values[0], "least" if is_min else "most")
    for i, value in enumerate(values[1:], 2):
        other = b.atom(value, "other")
        x, y, type_ = unified(b, best, other, at)
        signed = isinstance(type_, Word) and type_.signed
        pair = (x.expr, y.expr) if is_min else (y.expr, x.expr)
        test = binary("slt" if signed else "ult", *pair)
        best = Value(Select(test, x.expr, y.expr), type_, at, depth=3)
        if i < len(values):
            best = b.atom(best, "best")
    return best
