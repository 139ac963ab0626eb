"""What may go where: C's conversions of numbers, and what is refused instead of lost.

Rules
-----
* A number goes where another is wanted as in C: cut to the width, sign and all. To a truth
  value it goes as "not zero".
* A constant that does not fit is an error, but a negative one that fits the signed type
  of the same width is all right (``-1`` is all ones); an explicit cast cuts anything.
* A pointer goes where a pointer to the same is wanted, or a 64-bit number; NULL and 0
  where any pointer is.
"""

from __future__ import annotations

from dataclasses import replace

from mkold.base.errors import Pos
from mkold.ir.nodes import WORD_MASK, Const, Expr
from mkold.lang.meaning.builder import Builder
from mkold.lang.meaning.values import ZERO, Value, binary, is_truth, unary, word
from mkold.lang.types.structs import (
    FunctionPointer,
    Pointer,
    Type,
    fits,
    is_one_value,
    told_from,
)
from mkold.lang.types.words import BOOL, U64, Word


def converted(b: Builder, value: Value, wanted: Type, expects: str) -> Value:
    """``value`` where a ``wanted`` is expected, as C converts an argument.

    Parameters
    ----------
    expects : who wants it, for an error: ``"f wants"``, ``"x is"``

    Raises
    ------
    SourceError : it is of another kind, or a constant that does not fit
    """
    if isinstance(wanted, Word):
        return to_number(b, value, wanted)
    if is_one_value(wanted) and (fits(value.type, wanted) or value.exact == 0):
        return replace(value, type=wanted)
    hint = f"cast({wanted}, ...) if that is meant"
    there, here = told_from(wanted, value.type), told_from(value.type, wanted)
    raise b.error(value.at, f"{expects} {there}, and this is {here}", hint)


def to_number(b: Builder, value: Value, wanted: Word) -> Value:
    """``value`` as a number of type ``wanted``.

    Raises
    ------
    SourceError : a constant that does not fit, or an address in a narrow number
    """
    if value.exact is not None:
        return _constant(b, value, value.exact, wanted)
    if wanted.bits == BOOL.bits:
        return Value(truth(value), wanted, value.at)
    if isinstance(value.type, Word):
        return replace(value, expr=cut(value.expr, value.type, wanted), type=wanted)
    if isinstance(value.type, FunctionPointer):
        hint = f"call it, or cast({wanted}, ...) if its word is meant"
        raise b.error(value.at, f"{value.type} is a function, and a number is needed", hint)
    if wanted.bits < U64.bits:
        hint = f"cast({wanted}, ...) if that is meant"
        raise b.error(value.at, f"an address does not fit {_a(wanted)}", hint)
    return replace(value, type=wanted)


def _constant(b: Builder, value: Value, number: int, wanted: Word) -> Value:
    if not wanted.wraps_to(number):
        if wanted.bits == U64.bits:
            raise b.error(value.at, f"the constant {shown(number)} does not fit a 64-bit word")
        hint = f"{_a(wanted)} holds {wanted.least} to {wanted.most}; cast({wanted}, ...) wraps"
        raise b.error(value.at, f"the constant {shown(number)} does not fit {_a(wanted)}", hint)
    return constant(value, number, wanted)


def constant(value: Value, number: int, wanted: Word) -> Value:
    """A constant at ``wanted``, wrapped; its expression keeps its names where it may."""
    if wanted.holds(number):
        return replace(value, type=wanted, exact=number)
    wrapped = number & (1 << wanted.bits) - 1
    if wanted.holds(wrapped):
        exact = wrapped
    else:
        exact = wrapped - (1 << wanted.bits)
    same = exact & WORD_MASK == number & WORD_MASK
    return replace(value, expr=value.expr if same else word(exact), type=wanted, exact=exact)


def cast(b: Builder, value: Value, wanted: Type, at: Pos) -> Value:
    """``value`` as whatever is asked for, cut without complaint."""
    value = replace(value, at=at)
    if isinstance(wanted, Word):
        if value.exact is not None and wanted.bits != BOOL.bits:
            return constant(value, value.exact, wanted)
        if value.exact is None and not isinstance(value.type, Word):
            value = replace(value, type=U64)
        if wanted.bits == BOOL.bits:
            return Value(truth(value), wanted, value.at)
        return to_number(b, value, wanted)
    if value.exact is not None:
        value = to_number(b, value, U64)
    return replace(value, type=wanted, exact=None)


def cut(expr: Expr, source: Word, wanted: Word) -> Expr:
    """``expr``, a number of type ``source``, as one of type ``wanted``."""
    if not wanted.operator or wanted.includes(source):
        return expr
    return unary(wanted.operator, expr)


def truth(value: Value) -> Expr:
    """``value`` as 0 or 1."""
    if value.exact is not None:
        return Const(int(value.exact != 0))
    if value.type == BOOL or is_truth(value.expr):
        return value.expr
    return binary("ne", value.expr, ZERO)


def as_number(value: Value) -> Word:
    """The type that ``value`` is computed with: an address counts as a ``u64``."""
    return value.type if isinstance(value.type, Word) else U64


def is_pointer(value: Value) -> bool:
    """Whether ``value`` is an address or a function's word."""
    return isinstance(value.type, Pointer | FunctionPointer)


def shown(number: int) -> str:
    """A number for a message, also one of thousands of digits."""
    return str(number) if abs(number) < 1 << 200 else f"of {number.bit_length()} bits"


def _a(wanted: Word) -> str:
    return f"{'an' if wanted.name[0] in 'aeios' else 'a'} {wanted}"
