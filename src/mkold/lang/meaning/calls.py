"""Calls: primitives, functions, pointers to functions, callbacks.

Rules
-----
* What a primitive stores, adds or compares is converted to the type of its place; what it
  gives has that type, its sign extended.
* Arguments are converted to the parameters' types, as in C.
* A function's name, where a value is needed, is the word that stands for it. A call
  through a pointer reaches the functions of the same type whose address is taken
  somewhere in the program.
"""

from __future__ import annotations

from collections.abc import Sequence

from mkold.base.errors import Pos
from mkold.ir.access import fits
from mkold.ir.nodes import (
    WORD_BITS,
    Call,
    CallPtr,
    CallRcu,
    Expr,
    FunctionWord,
    Local,
    Op,
    locals_of,
)
from mkold.ir.prims import VAL, Gives, Prim, Shape, Takes
from mkold.lang.meaning import arithmetic
from mkold.lang.meaning.builder import Builder
from mkold.lang.meaning.convert import converted, truth
from mkold.lang.meaning.definition import Checked
from mkold.lang.meaning.places import Extent, extent, got, hint_of, read, stored, value_type
from mkold.lang.meaning.values import Operand, Place, Results, Value
from mkold.lang.types.structs import FunctionPointer, Record, Repeat, Type
from mkold.lang.types.words import BOOL, U64

# The locals that the results of a call are about to be assigned to.
Into = tuple[str, ...] | None

# Arguments that have the type of the place.
_TYPED = frozenset({Takes.OPERAND, Takes.AGAINST})


def check_count(b: Builder, name: str, given: int, wanted: int, at: Pos) -> None:
    """Refuse a wrong number of arguments."""
    if given != wanted:
        noun = "argument" if wanted == 1 else "arguments"
        raise b.error(at, f"{name} takes {wanted} {noun}, not {given}")


def primitive(
    b: Builder, row: Prim, place: Place | None, values: Sequence[Value], at: Pos,
    into: Into = None,
) -> Operand:  # fmt: skip
    """A primitive on ``place`` (if it works on memory) with ``values`` after it.

    Raises
    ------
    SourceError : wrong number of arguments, or wrong types
    """
    given = len(values) + (place is not None)
    check_count(b, row.name, given, row.n_args, at)
    args: list[Expr] = []
    what, where = "", Extent()
    type_: Type = U64
    if place is not None:
        _check_place(b, row, place)
        args.append(place.address)
        what, type_, where = place.text, value_type(place.type), _extent(row, place)
    takes = row.takes[len(args) :]
    args += [
        _argument(b, kind, place, value) for kind, value in zip(takes, values, strict=True)
    ]
    if row.shape is Shape.LOAD_WHICH:
        _check_words(b, row, args[1], values[0])
    types = _result_types(row, type_)
    hint = hint_of(what) if what else row.name.lower()
    dsts = _destinations(b, into, hint, types)
    b.emit(Op(row.name, dsts, tuple(args), what, at, **where))
    return _given(dsts, types, at)


def _check_words(b: Builder, row: Prim, count: Expr, value: Value) -> None:
    if any(True for _ in locals_of(count)):
        hint = "use an integer constant or a parameter(...)"
        raise b.error(value.at, f"the count of {row.name} is no constant", hint)
    if value.exact is not None and value.exact > WORD_BITS:
        reason = f"{row.name} gives a bit for each word, and a word has {WORD_BITS}"
        raise b.error(value.at, reason, "go over them in steps")


def at_place(place: Place, at: Pos) -> Value:
    """What ``VAL`` stands for where a primitive awaits a condition on ``place``."""
    return got(VAL, value_type(place.type), at)


def _check_place(b: Builder, row: Prim, place: Place) -> None:
    if isinstance(place.type, Record) and Takes.STRUCT in row.takes:
        return
    if isinstance(place.type, Record | Repeat):
        reason = f"{row.name} works on one word, and {place.text} is {place.type}"
        raise b.error(place.at, reason, "name a field or an element")
    where = _extent(row, place)
    if fits(row, where.get("width", WORD_BITS), where.get("shift")):
        return
    if place.is_part:
        hint = "READ_ONCE and WRITE_ONCE do; or work on the word"
        raise b.error(place.at, f"{row.name} does not work on a part of a word", hint)
    reason = f"{row.name} works on {WORD_BITS} bits, and {place.text} is {place.type}"
    raise b.error(place.at, reason, "declare it u64")


def _extent(row: Prim, place: Place) -> Extent:
    """The bits of its word that ``row`` works on; all of them if it counts words."""
    return {} if Takes.COUNT in row.takes and not place.is_part else extent(place)


def _argument(b: Builder, takes: Takes, place: Place | None, value: Value) -> Expr:
    if takes in (Takes.CONDITION, Takes.OVER_VAL):
        return truth(value)
    if place is not None and takes in _TYPED:
        return stored(b, place, value).expr
    return arithmetic.plain(b, value).expr


def _result_types(row: Prim, type_: Type) -> tuple[Type, ...]:
    types = {Gives.OLD: type_, Gives.NEW: type_, Gives.WORD: U64}
    return tuple(types.get(gives, BOOL) for gives in row.gives)


def _destinations(
    b: Builder, into: Into, hint: str, types: tuple[Type, ...]
) -> tuple[str, ...]:
    """The locals that take a call's results: those given, else new ones."""
    if into is not None and len(into) == len(types):
        return into
    return tuple(b.temporary(hint, type_) for type_ in types)


def _given(dsts: tuple[str, ...], types: tuple[Type, ...], at: Pos) -> Operand:
    values = tuple(got(dst, type_, at) for dst, type_ in zip(dsts, types, strict=True))
    return values[0] if len(values) == 1 else Results(values, at)


# Functions.


def call(
    b: Builder, callee: Checked, args: Sequence[Value], at: Pos, into: Into = None
) -> Operand:
    """A call of a function of any front end.

    Raises
    ------
    SourceError : wrong number of arguments, or wrong types
    """
    exprs = _arguments(b, callee.name, callee.type, args, at)
    dsts = _destinations(b, into, callee.name, callee.results)
    b.emit(Call(b.label(callee), dsts, exprs, at))
    return _returned(dsts, callee.results, at)


def function_word(b: Builder, function: Checked, at: Pos) -> Value:
    """A function as a value: the word that stands for it."""
    label = b.label(function)
    b.uses.pointed[label] = None
    return Value(FunctionWord(label, function.key), function.type, at)


def call_through(
    b: Builder, pointer: Operand, args: Sequence[Value], at: Pos, text: str, into: Into = None
) -> Operand:
    """A call through a pointer to a function; one in memory is read by a plain load.

    Raises
    ------
    SourceError : it is no such pointer; wrong number of arguments, or wrong types
    """
    target = read(b, pointer)
    if not isinstance(target.type, FunctionPointer):
        hint = "call a primitive or a @kernel function"
        raise b.error(at, f"{text} can't be called: it is {target.type}", hint)
    type_ = target.type
    exprs = _arguments(b, text, type_, args, at)
    b.uses.called_through[type_.signature] = None
    dsts = _destinations(b, into, hint_of(text), type_.results)
    through = b.atom(target, hint_of(text)).expr
    b.emit(CallPtr(through, (), dsts, exprs, text, at, type_.signature))
    return _returned(dsts, type_.results, at)


def _arguments(
    b: Builder, name: str, type_: FunctionPointer, args: Sequence[Value], at: Pos
) -> tuple[Expr, ...]:
    check_count(b, name, len(args), len(type_.params), at)
    return tuple(
        converted(b, value, wanted, f"{name} wants").expr
        for value, wanted in zip(args, type_.params, strict=True)
    )


def _returned(dsts: tuple[str, ...], types: tuple[Type, ...], at: Pos) -> Operand:
    """What a function returned: numbers of its types already."""
    values = tuple(Value(Local(dst), type_, at) for dst, type_ in zip(dsts, types, strict=True))
    return values[0] if len(values) == 1 else Results(values, at)


def call_rcu(b: Builder, callee: Checked, argument: Value, at: Pos, callee_at: Pos) -> Results:
    """Run ``callee(argument)`` after a grace period.

    Raises
    ------
    SourceError : it is no function of one word without a result
    """
    if len(callee.params) != 1 or callee.results:
        reason = f"call_rcu runs a function of one word, and {callee.name} is another kind"
        raise b.error(callee_at, reason, "def function(word: u64) -> None")
    argument = converted(b, argument, callee.params[0], f"{callee.name} wants")
    b.emit(CallRcu(b.label(callee), argument.expr, at))
    return Results((), at)
