"""A whole function: its parameters at the start, its results, what is checked at the end.

Rules
-----
* Whoever calls from outside may give any word, so a narrow parameter is cut on entry.
* What would go wrong only when it runs (a local read before it is assigned, a path that
  ends without a result) is an error here.
* Locals that lie in memory have words on the stack from the start of the function to
  each of its ends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mkold.base.errors import Pos
from mkold.ir.edit import map_statements
from mkold.ir.flow import falls_through, unassigned
from mkold.ir.nodes import Assign, Const, Expr, Function, Local, Op, Return, Stmt
from mkold.lang.meaning.builder import Builder
from mkold.lang.meaning.convert import converted, cut, truth
from mkold.lang.meaning.definition import Checked
from mkold.lang.meaning.places import FRAME, place_local, store
from mkold.lang.meaning.values import Value
from mkold.lang.types.structs import FunctionPointer, Type, is_one_value
from mkold.lang.types.words import BOOL, U64, Word


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function: its name, its type, where it stands."""

    name: str
    type: Type
    at: Pos


def check_one_value(b: Builder, type_: Type, at: Pos) -> None:
    """Refuse a parameter or a result that is a whole struct or array."""
    if not is_one_value(type_):
        raise b.error(at, f"{type_} is not one word", f"pass Ptr[{type_}]")


def begin(
    b: Builder, params: Sequence[Parameter], results: tuple[Type, ...],
    in_memory: Collection[str] = (),
) -> None:  # fmt: skip
    """Start a function; ``in_memory`` names the parameters whose address is taken."""
    b.results = results
    for param in params:
        check_one_value(b, param.type, param.at)
        b.types[param.name] = param.type
        b.fixed.add(param.name)
    for param in params:
        value = _entering(param)
        if param.name in in_memory:
            store(b, place_local(b, param.name, param.type, param.at), value, param.at)
        elif value.expr != Local(param.name):
            b.emit(Assign(param.name, value.expr, param.at))


def _entering(param: Parameter) -> Value:
    expr: Expr = Local(param.name)
    if isinstance(param.type, Word):
        if param.type.bits == BOOL.bits:
            expr = truth(Value(expr, U64, param.at))
        else:
            expr = cut(expr, U64, param.type)
    return Value(expr, param.type, param.at)


def give(b: Builder, values: Sequence[Value], at: Pos) -> None:
    """``return``.

    Raises
    ------
    SourceError : another number of values than declared, or other types
    """
    check_results(b, len(values), at)
    exprs = tuple(
        converted(b, value, wanted, "the function returns").expr
        for value, wanted in zip(values, b.results, strict=True)
    )
    b.emit(Return(exprs, at))


def finish(
    b: Builder, module: str, params: Sequence[Parameter], body: Sequence[Stmt], at: Pos,
    end: Pos,
) -> tuple[Function, FunctionPointer]:  # fmt: skip
    """Check what was built and put the function together.

    Parameters
    ----------
    body : all that was emitted since ``begin``
    at, end : where the function is, and its last statement

    Raises
    ------
    SourceError : a local may be read before it is assigned, or a result is missing
    """
    goes_on = falls_through(tuple(body))
    if b.results and goes_on:
        hint = "every path needs one; for an endless loop write while True"
        raise b.error(end, f"{b.name} can end without a return", hint)
    lowered = Function(
        f"{module}:{b.name}",
        tuple(param.name for param in params),
        _framed(b, tuple(body), goes_on=goes_on, at=at),
        len(b.results),
        {name: str(type_) for name, type_ in b.types.items()},
        at,
    )
    missing = unassigned(lowered)
    if missing is not None:
        name, where = missing
        hint = f"assign {name} on every path that leads here"
        raise b.error(where or at, f"{name} may be read before it is assigned", hint)
    return lowered, FunctionPointer(tuple(param.type for param in params), b.results)


def check_results(b: Builder, given: int, at: Pos) -> None:
    """Refuse a ``return`` of another number of values than declared."""
    n = len(b.results)
    if given != n:
        declared = "nothing" if n == 0 else f"{n} value{'s' if n > 1 else ''}"
        hint = "declare what comes back: def f(...) -> u64"
        raise b.error(at, f"the function returns {declared}, this {given}", hint)


def _framed(b: Builder, body: tuple[Stmt, ...], *, goes_on: bool, at: Pos) -> tuple[Stmt, ...]:
    """The stack's words at the start and at every end, if any local needs them."""
    if not b.frame_words:
        return body
    n = Const(b.frame_words)

    def end(where: Pos | None) -> Op:
        return Op("stack_free", (), (Local(FRAME), n), "", where)

    def change(stmt: Stmt) -> tuple[Stmt, ...] | None:
        return (end(stmt.at), stmt) if isinstance(stmt, Return) else None

    start = Op("stack_alloc", (FRAME,), (n,), "", at)
    last = (end(at),) if goes_on else ()
    return (start, *map_statements(body, change), *last)


def checked(
    b: Builder, module: str, params: Sequence[Parameter], body: Sequence[Stmt], at: Pos,
    end: Pos,
) -> Checked:  # fmt: skip
    """The finished function as others take it."""
    lowered, type_ = finish(b, module, params, body, at, end)
    return Checked(b.name, lowered, type_, b.uses)
