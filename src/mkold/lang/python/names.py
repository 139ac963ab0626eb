"""What a name of the source stands for: a local, a constant, a field, an element."""

from __future__ import annotations

import ast
import enum
from types import ModuleType
from typing import Any

from mkold.base.errors import InputError
from mkold.lang.meaning import arithmetic, calls, places
from mkold.lang.meaning.definition import Checked
from mkold.lang.meaning.values import Operand, Place, Value, word
from mkold.lang.python.annotations import struct_type
from mkold.lang.python.frame import Frame
from mkold.lang.python.objects import Parameter, Primitive, Special
from mkold.lang.python.refuse import refusal
from mkold.lang.types.structs import Repeat
from mkold.lang.types.words import U64


def constant(f: Frame, node: ast.Constant) -> Value:
    """A number or a truth value of the source."""
    value = node.value
    if isinstance(value, bool):
        return arithmetic.boolean(value, f.pos(node))
    if isinstance(value, int):
        return arithmetic.number(f.b, value, f.pos(node))
    if value is None:
        raise f.error(node, "None is not in kernel Python", "use NULL, or 0")
    kind = type(value).__name__
    hint = "kernel Python has numbers of up to 64 bits only"
    raise f.error(node, f"a value of type {kind} is not in kernel Python", hint)


def named(f: Frame, node: ast.Name) -> Operand:
    """What a name stands for."""
    name = node.id
    if name in f.bound:
        return f.bound[name]
    if name in f.b.types:
        return places.local(f.b, name, f.pos(node))
    if name in f.assigned:
        raise f.error(node, f"{name} is read before it is assigned")
    return from_object(f, f.lookup(node), node)


def from_object(f: Frame, found: Any, node: ast.expr) -> Operand:
    """The value that a Python object of the module stands for."""
    at = f.pos(node)
    match found:
        case bool():
            return arithmetic.boolean(found, at)
        case enum.IntEnum() | int():
            return arithmetic.number(f.b, int(found), at, ast.unparse(node))
        case Parameter(expr=expr, defaults=defaults):
            f.b.uses_parameters(defaults, at)
            return Value(expr, U64, at)
        case Special(name="NULL"):
            return arithmetic.null(at)
        case Checked():
            return calls.function_word(f.b, found, at)
    text = ast.unparse(node)
    if isinstance(found, Special) and found.name == "VAL":
        hint = "smp_cond_load_acquire(p.x, VAL == 0)"
        raise f.error(node, "VAL has a value only inside a condition that is awaited", hint)
    if isinstance(found, Primitive | Special):
        raise f.error(node, f"{text} is a function, and a value is needed", "call it")
    hint = "names are locals, integer constants, parameter(...), Structs, functions"
    kind = type(found).__name__
    raise f.error(node, f"{text} is a Python {kind}, which has no value here", hint)


def attribute(f: Frame, node: ast.Attribute) -> Operand:
    """A field, ``p.value``, or a name of a module."""
    found = f.static(node.value)
    if isinstance(found, ModuleType) or (
        isinstance(found, type) and issubclass(found, enum.IntEnum)
    ):
        if not hasattr(found, node.attr):
            raise f.error(node, f"{ast.unparse(node.value)} has no {node.attr}")
        return from_object(f, getattr(found, node.attr), node)
    if struct_type(found) is not None:
        return _of_struct(f, found, node)
    base = f.operand(node.value)
    at, text = f.pos(node), ast.unparse(node)
    try:
        is_field = node.attr != "value" or places.has_field(base, "value")
    except InputError as error:  # the struct itself is wrong
        raise f.error(node, str(error)) from None
    if is_field:
        return places.field(f.b, base, node.attr, at, text)
    return places.pointee(f.b, base, at, text)


def _of_struct(f: Frame, found: Any, node: ast.Attribute) -> Value:
    struct = struct_type(found)
    assert struct is not None
    if node.attr != "size":
        hint = f'{struct.name}.size and {struct.name}.offset("field") are constants'
        raise f.error(node, f"{struct.name} is a struct, not a place", hint)
    f.b.uses.structs[struct] = None
    try:
        size = struct.size
    except InputError as error:
        raise f.error(node, str(error)) from None
    return Value(word(size), U64, f.pos(node), size)


def subscript(f: Frame, node: ast.Subscript) -> Place:
    """An element of an array or of a pointer."""
    if isinstance(node.slice, ast.Slice):
        raise f.error(node.slice, *refusal(node.slice))
    base = f.operand(node.value)
    if not (isinstance(base, Place) and isinstance(base.type, Repeat)):
        base = places.read(f.b, base)  # the pointer first, then the index
    index = f.value(node.slice)
    return places.element(f.b, base, index, f.pos(node), ast.unparse(node))
