"""Calls of macros: the arguments, and the operation they become.

Beside the macros of linux-kernel.def, herd's own words below them are read, such as
``__load{once}(*x)`` and ``__atomic_op_return{mb}(x, +, 1)``.
"""

from __future__ import annotations

from typing import Protocol

from mkold.base.errors import Pos
from mkold.ir.nodes import WORD_BITS, Expr, Local, Op, Stmt
from mkold.ir.prims import PRIMS, Shape
from mkold.litmus.arithmetic import Value, convert, of
from mkold.litmus.macros import ATOMIC_OPS, BUILTIN_NAMES, MACROS, Macro, builtin
from mkold.litmus.source import Tokens, UnsupportedSourceError, shown
from mkold.litmus.types import INT, LONG, Type

_ON_OBJECTS = frozenset({Shape.LOAD, Shape.STORE, Shape.RMW})
_MAY_WRAP = frozenset({"add", "sub"})


class Reader(Protocol):
    """What reads the arguments: a thread's reader of expressions."""

    tokens: Tokens
    out: list[Stmt]

    def expression(self) -> Value:
        """The value of a whole expression."""

    def lvalue(self, asked_by: str) -> Value:
        """The address of a place."""

    def over_val(self, kind: Type) -> Value:
        """A condition on what is at a place of this type, which it calls ``VAL``."""

    def place(self, address: Value, start: int) -> Type:
        """The type of the object at an address that is accessed."""

    def local(self, name: str) -> Local:
        """A register."""

    def temporary(self) -> str:
        """The name of a new register."""

    def pos(self, start: int) -> Pos | None:
        """From token ``start`` to the last one read."""

    def text(self, start: int) -> str:
        """The source of the same."""


def read_call(reader: Reader, *, wanted: bool) -> Value | None:
    """A call; its result, or ``None`` if it has none and none is ``wanted``."""
    tokens = reader.tokens
    texts = tokens.texts
    start = tokens.at
    name = texts[start]
    if name in BUILTIN_NAMES:
        return _builtin(reader, wanted)
    macro = MACROS.get(name)
    if macro is None:
        tokens.fail(
            f"'{name}' is no macro of the Linux-kernel memory model",
            kind=UnsupportedSourceError,
        )
    if wanted and not macro.has_result:
        tokens.fail(f"{name}() has no value")
    tokens.at += 2
    return _call(reader, macro, name, start, wanted)


def _call(reader: Reader, macro: Macro, name: str, start: int, wanted: bool) -> Value | None:
    """The arguments after ``(``, and the operation."""
    tokens = reader.tokens
    texts = tokens.texts
    what, place, values = "", None, []
    for i, kind in enumerate(macro.signature):
        if i:
            if texts[tokens.at] != ",":
                _wrong_count(reader, macro, name)
            tokens.at += 1
        first = tokens.at
        if kind == "v":
            values.append(reader.expression())
            continue
        if kind == "c":
            values.append(reader.over_val(place[1] if place else LONG))
            continue
        address = reader.lvalue(name) if kind == "l" else reader.expression()
        place = address.expr, reader.place(address, first)
        what = reader.text(first)
        what = what[1:] if kind == "l" and what[:1] == "*" else what
    if texts[tokens.at] != ")":
        _wrong_count(reader, macro, name)
    tokens.at += 1
    return _operation(reader, macro, place, values, start, what, wanted)


def _operation(
    reader: Reader, macro: Macro, place: tuple[Expr, Type] | None, values: list[Value],
    start: int, what: str, wanted: bool,
) -> Value | None:  # fmt: skip
    """The operation on an object, its operands in the object's type; its result."""
    row, result = PRIMS[macro.prim], reader.temporary() if wanted else ""
    dsts, kind = (result,) if wanted else (), LONG
    args = tuple(value.expr for value in values)
    width, signed = WORD_BITS, False
    if place is not None:
        address, kind = place
        if kind is LONG and row.family == "atomic":
            kind = INT  # through a pointer to nobody knows what
        if row.shape in _ON_OBJECTS:
            args = tuple(convert(value, kind).expr for value in values)
        if row.op in _MAY_WRAP and kind.cut:  # what else it computes fits by itself
            width, signed = kind.bits, kind.signed
        args = (address, *args)
    reader.out.append(
        Op(macro.prim, dsts, args, what, reader.pos(start), width=width, signed=signed)
    )
    if not wanted:
        return None
    if row.gives[0].is_truth:
        return Value(reader.local(result), INT, 0, 1)
    return of(reader.local(result), kind)


def _wrong_count(reader: Reader, macro: Macro, name: str) -> None:
    n = len(macro.signature)
    found = reader.tokens.texts[reader.tokens.at]
    reader.tokens.fail(
        f"{name}() takes {n} argument{'s' * (n != 1)}; unexpected {shown(found)}"
    )


def _builtin(reader: Reader, wanted: bool) -> Value | None:
    """herd's own words, such as ``__load{once}(*x)``."""
    tokens = reader.tokens
    texts = tokens.texts
    start = tokens.at
    name, tag = texts[start], ""
    tokens.at += 1
    if texts[tokens.at] == "{":
        closed = tokens.at + 1
        while texts[closed] not in ("}", ""):
            tag += texts[closed]
            closed += 1
        tokens.at = closed
        tokens.expect("}", "after an annotation")
    if name == "__fence" and texts[tokens.at] != "(":
        tokens.at -= 1  # stands in for the argument list
    else:
        tokens.expect("(", f"after {name}")
    if name in ("__atomic_op", "__atomic_op_return", "__atomic_fetch_op"):
        return _atomic_op(reader, name, tag, start, wanted)
    macro = builtin(name, tag.lower())
    if macro is None:
        tokens.fail(f"{name}{{{tag}}}", index=start, kind=UnsupportedSourceError)
    if wanted and not macro.has_result:
        tokens.fail(f"{name} has no value", index=start)
    if name == "__fence" and texts[tokens.at] == "}":
        tokens.at += 1
        reader.out.append(Op(macro.prim, (), (), "", reader.pos(start)))
        return None
    return _call(reader, macro, name, start, wanted)


def _atomic_op(reader: Reader, name: str, tag: str, start: int, wanted: bool) -> Value | None:
    """``__atomic_op_return{mb}(x, +, 1)``."""
    tokens = reader.tokens
    texts = tokens.texts
    first = tokens.at
    address = reader.expression()
    place = address.expr, reader.place(address, first)
    what = reader.text(first)
    tokens.expect(",", "before the operator")
    sign = texts[tokens.at]
    tokens.at += 1
    if sign == "&" and texts[tokens.at] == "~":
        sign = "&~"
        tokens.at += 1
    macro = builtin(f"{name}{sign}", tag.lower())
    if sign not in ATOMIC_OPS or macro is None:
        tokens.fail(f"{name}{{{tag}}} with '{sign}'", index=start, kind=UnsupportedSourceError)
    tokens.expect(",", "after the operator")
    value = reader.expression()
    tokens.expect(")", "after the arguments")
    if wanted and not macro.has_result:
        tokens.fail(f"{name} has no value", index=start)
    return _operation(reader, macro, place, [value], start, what, wanted)
