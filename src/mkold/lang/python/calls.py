"""Reads calls: primitives, kernel functions, pointers, and the language's own words."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from mkold.base.errors import InputError
from mkold.ir.prims import VAL, Prim, Takes
from mkold.lang.meaning import arithmetic, calls, convert, places
from mkold.lang.meaning.calls import Into
from mkold.lang.meaning.definition import Checked
from mkold.lang.meaning.values import Operand, Place, Value
from mkold.lang.python.annotations import struct_type
from mkold.lang.python.frame import Frame
from mkold.lang.python.objects import Primitive, Special
from mkold.lang.types.structs import StructType
from mkold.lang.types.words import BOOL, U64


def call(f: Frame, node: ast.Call, into: Into) -> Operand:
    """A call, whatever is called."""
    _check_form(f, node)
    found = _callee(f, node.func)
    match found:
        case Primitive(row=row):
            return _primitive(f, row, node, into)
        case Checked():
            args = [f.value(arg) for arg in node.args]
            return calls.call(f.b, found, args, f.pos(node), into)
        case Special(name=name) if name in _SPECIAL:
            return _SPECIAL[name](f, node)
        case StructType() if _is_offset(node.func):
            return _offset(f, found, node)
    if found is min or found is max:
        return _extreme(f, node, is_min=found is min)
    if found is bool:
        _check_count(f, node, "bool", 1)
        value = f.value(node.args[0])
        return Value(convert.truth(value), BOOL, f.pos(node))
    if found is None:
        return _through(f, node, into)
    raise _refused(f, found, node)


def _check_form(f: Frame, node: ast.Call) -> None:
    if node.keywords:
        reason = "keyword arguments are not in kernel Python"
        raise f.error(node.keywords[0], reason, "give the arguments in order")
    for arg in node.args:
        if isinstance(arg, ast.Starred):
            raise f.error(arg, "unpacking with * is not in kernel Python", "name each argument")


def _callee(f: Frame, func: ast.expr) -> Any:
    """The Python object that is called; ``None`` if it is a value of kernel Python."""
    if isinstance(func, ast.Name) and not f.is_local(func.id):
        if func.id == f.b.name:
            raise f.error(func, "recursion is not in kernel Python", "write a loop")
        return f.lookup(func)
    if isinstance(func, ast.Attribute):
        struct = struct_type(f.static(func.value))
        if struct is not None:
            return struct
    return f.static(func)


def _refused(f: Frame, found: Any, node: ast.Call) -> Exception:
    text = ast.unparse(node.func)
    if found is range:
        return f.error(node, "range() is for loops only", "for i in range(n):")
    if isinstance(found, Special):
        return f.error(node, f"{text} can't be called")
    if callable(found):
        hint = f"decorate {text} with @kernel"
        return f.error(node, f"{text} is a Python function", hint)
    hint = "call a primitive or a @kernel function"
    return f.error(node, f"{text} can't be called", hint)


def _through(f: Frame, node: ast.Call, into: Into) -> Operand:
    """A call of what a field or a local holds."""
    func = node.func
    if isinstance(func, ast.Attribute) and not isinstance(f.static(func.value), type):
        base = f.operand(func.value)
        if not _has_field(f, base, func):
            hint = "call a @kernel function and pass the pointer to it"
            raise f.error(node, "methods are not in kernel Python", hint)
        pointer: Operand = places.field(f.b, base, func.attr, f.pos(func), ast.unparse(func))
    else:
        pointer = f.operand(func)
    target = places.read(f.b, pointer)
    args = [f.value(arg) for arg in node.args]
    return calls.call_through(f.b, target, args, f.pos(node), ast.unparse(func), into)


def _has_field(f: Frame, base: Operand, func: ast.Attribute) -> bool:
    try:
        return places.has_field(base, func.attr)
    except InputError as error:  # the struct itself is wrong
        raise f.error(func, str(error)) from None


def _check_count(f: Frame, node: ast.Call, name: str, n: int) -> None:
    calls.check_count(f.b, name, len(node.args), n, f.pos(node))


def _primitive(f: Frame, row: Prim, node: ast.Call, into: Into) -> Operand:
    _check_count(f, node, row.name, row.n_args)
    rest = list(node.args)
    place = f.place(rest.pop(0)) if row.lvalue else None
    takes = row.takes[row.lvalue :]
    values = [
        _over_val(f, place, arg) if kind is Takes.OVER_VAL and place else f.value(arg)
        for kind, arg in zip(takes, rest, strict=True)
    ]
    return calls.primitive(f.b, row, place, values, f.pos(node), into)


def _over_val(f: Frame, place: Place, node: ast.expr) -> Value:
    """A condition on what is at ``place``, which it calls ``VAL``."""
    if VAL in f.assigned:
        raise f.error(node, f"{VAL} is what is at the place here", "call the local otherwise")
    before, f.bound = f.bound, {**f.bound, VAL: calls.at_place(place, f.pos(node))}
    try:
        with f.b.block() as stmts:
            holds = f.value(node)
    finally:
        f.bound = before
    if stmts:
        hint = "read it before, or write the loop"
        raise f.error(node, f"a condition on {VAL} reads no other memory", hint)
    return holds


def _extreme(f: Frame, node: ast.Call, *, is_min: bool) -> Value:
    if len(node.args) < 2:
        raise f.error(node, "min and max take two or more words")
    values = [f.value(arg) for arg in node.args]
    return arithmetic.extreme(f.b, values, f.pos(node), is_min=is_min)


# The language's own words.


def _addr(f: Frame, node: ast.Call) -> Value:
    _check_count(f, node, "addr", 1)
    return places.address(f.b, f.place(node.args[0]), f.pos(node))


def _cast(f: Frame, node: ast.Call) -> Value:
    _check_count(f, node, "cast", 2)
    type_ = f.type_of(node.args[0])
    return convert.cast(f.b, f.value(node.args[1]), type_, f.pos(node))


def _byte(f: Frame, node: ast.Call) -> Place:
    _check_count(f, node, "byte", 2)
    place = f.place(node.args[0])
    index = f.value(node.args[1])
    if index.exact is None:
        raise f.error(node.args[1], "the number of a byte is a constant", "shift the word")
    return places.part(f.b, place, index.exact, f.pos(node), ast.unparse(node))


def _call_rcu(f: Frame, node: ast.Call) -> Operand:
    _check_count(f, node, "call_rcu", 2)
    callee = _callee(f, node.args[0])
    if not isinstance(callee, Checked):
        raise f.error(node.args[0], "call_rcu wants a @kernel function here")
    argument = f.value(node.args[1])
    return calls.call_rcu(f.b, callee, argument, f.pos(node), f.pos(node.args[0]))


def _is_offset(func: ast.expr) -> bool:
    return isinstance(func, ast.Attribute) and func.attr == "offset"


def _offset(f: Frame, struct: StructType, node: ast.Call) -> Value:
    """``Struct.offset("field")``."""
    match node.args:
        case [ast.Constant(value=str() as path)]:
            f.b.uses.structs[struct] = None
            try:
                found = struct.layout.field(path).offset
            except InputError as error:
                raise f.error(node, str(error)) from None
            value = arithmetic.number(f.b, found, f.pos(node))
            return Value(value.expr, U64, value.at, found)
    raise f.error(node, "offset() takes one field's name in quotes")


_SPECIAL: dict[str, Callable[[Frame, ast.Call], Operand]] = {
    "addr": _addr,
    "cast": _cast,
    "byte": _byte,
    "call_rcu": _call_rcu,
}
