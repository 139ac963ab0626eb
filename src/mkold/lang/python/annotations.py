"""Reads type annotations: as objects, as text, or as syntax.

Annotations are never evaluated as Python, so that a quoted name may be defined later and
``from __future__ import annotations`` changes nothing. An array's length is a constant
made of integers, names of such, and operators.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mkold.base.errors import InputError
from mkold.lang.types.structs import (
    MAX_ELEMENTS,
    FunctionPointer,
    Pointer,
    Record,
    Repeat,
    StructType,
    Type,
    is_one_value,
)
from mkold.lang.types.words import BOOL, INT, Word

_HINT = (
    "types are u8 to u64, s8 to s64, int, bool, Ptr[T], Array[T, n], Fn[[T, ...], T], "
    "atomic_t, spinlock_t and their like, and structs"
)


class AnnotationError(InputError):
    """An annotation that names no type of kernel Python; ``node`` is the culprit."""

    def __init__(self, reason: str, node: ast.AST | None = None, hint: str = "") -> None:
        super().__init__(reason)
        self.reason, self.node, self.hint = reason, node, hint


@dataclass(frozen=True, slots=True)
class TypeName:
    """What ``u64`` and its like are at run time."""

    type: Word

    def __repr__(self) -> str:
        return self.type.name

    def __call__(self, *_: object) -> Any:
        raise InputError(f"{self.type.name} is a type of kernel Python; use cast()")


class Generic:
    """``Ptr``, ``Array`` or ``Fn``; subscription keeps what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __getitem__(self, item: Any) -> Any:
        return Subscripted(self, item if isinstance(item, tuple) else (item,))


@dataclass(frozen=True, slots=True)
class Subscripted:
    """``Ptr[...]`` and its like as an object."""

    base: Generic
    items: tuple[Any, ...]


PTR = Generic("Ptr")
ARRAY = Generic("Array")
FN = Generic("Fn")


def struct_type(value: Any) -> StructType | None:
    """The struct that a class of ``structs.Struct`` stands for, if ``value`` is one."""
    found = getattr(value, "as_type", None) if isinstance(value, type) else None
    return found if isinstance(found, StructType) else None


def resolve_text(annotation: Any, scope: Mapping[str, Any], what: str) -> Type:
    """The type that ``annotation`` (text or object) of ``what`` means in ``scope``."""
    try:
        return from_object(annotation, scope)
    except AnnotationError as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise InputError(f"{what}: {error.reason}{hint}") from None


def from_object(value: Any, scope: Mapping[str, Any]) -> Type:
    """The type that a run-time object stands for."""
    match value:
        case TypeName(type=type_):
            return type_
        case Word() | Pointer() | Repeat() | Record() | FunctionPointer():
            return value
        case Subscripted(base=base, items=items):
            return _apply(base, list(items), scope, None)
        case str():
            try:
                node = ast.parse(value, mode="eval").body
            except (SyntaxError, ValueError, MemoryError, RecursionError):
                raise AnnotationError(f"'{value}' is no type", None, _HINT) from None
            return from_syntax(node, scope)
    if value is bool or value is int:
        return BOOL if value is bool else INT
    struct = struct_type(value)
    if struct is not None:
        return Record(struct)
    raise AnnotationError(f"{value!r} is no type of kernel Python", None, _HINT)


def from_syntax(node: ast.expr, scope: Mapping[str, Any]) -> Type:
    """The type that the syntax ``node`` stands for."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return from_object(node.value, scope)
    if isinstance(node, ast.Subscript):
        base = lookup(node.value, scope)
        if not isinstance(base, Generic):
            text = ast.unparse(node.value)
            raise AnnotationError(f"{text} takes no parameters", node, _HINT)
        inner = node.slice
        items: list[Any] = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
        return _apply(base, items, scope, node)
    try:
        return from_object(lookup(node, scope), scope)
    except AnnotationError as error:
        raise AnnotationError(error.reason, error.node or node, error.hint) from None


def results_of(annotation: Any, scope: Mapping[str, Any]) -> tuple[Type, ...]:
    """Types of the results that a ``-> ...`` (syntax or object) states."""
    match annotation:
        case None | ast.Constant(value=None):
            return ()
        case ast.Subscript(value=ast.Name(id="tuple"), slice=inner):
            items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return tuple(from_syntax(item, scope) for item in items)
        case ast.expr():
            return (from_syntax(annotation, scope),)
    if getattr(annotation, "__origin__", None) is tuple:
        return tuple(from_object(item, scope) for item in annotation.__args__)
    return (from_object(annotation, scope),)


def lookup(node: ast.expr, scope: Mapping[str, Any]) -> Any:
    """The object that a name or a dotted name means."""
    if isinstance(node, ast.Name):
        if node.id in scope:
            return scope[node.id]
        if node.id in ("bool", "int"):
            return {"bool": bool, "int": int}[node.id]
        raise AnnotationError(f"the type {node.id} is not defined", node, _HINT)
    if isinstance(node, ast.Attribute):
        base = lookup(node.value, scope)
        if hasattr(base, node.attr):
            return getattr(base, node.attr)
    raise AnnotationError(f"{ast.unparse(node)} is no type of kernel Python", node, _HINT)


def _apply(
    base: Generic, items: list[Any], scope: Mapping[str, Any], node: ast.AST | None
) -> Type:
    if base is PTR:
        if len(items) != 1:
            raise AnnotationError("Ptr takes one type, as in Ptr[u64]", node)
        return Pointer(_type(items[0], scope))
    if base is FN:
        return _function(items, scope, node)
    if len(items) != 2:
        raise AnnotationError("Array takes a type and a length, as in Array[u64, 4]", node)
    length = items[1]
    if isinstance(length, ast.expr):
        length = _length(length, scope)
    if not isinstance(length, int) or not 0 < length <= MAX_ELEMENTS:
        reason = f"an array's length is a constant from 1 to {MAX_ELEMENTS}"
        raise AnnotationError(reason, node)
    return Repeat(_type(items[0], scope), int(length))


def _type(item: Any, scope: Mapping[str, Any]) -> Type:
    return from_syntax(item, scope) if isinstance(item, ast.expr) else from_object(item, scope)


def _function(items: list[Any], scope: Mapping[str, Any], node: ast.AST | None) -> Type:
    given = items[0] if len(items) == 2 else None
    params = given.elts if isinstance(given, ast.List) else given
    if not isinstance(params, list):
        reason = "Fn takes a list of types and a result, as in Fn[[Ptr[Kvm], u64], u64]"
        raise AnnotationError(reason, node)
    found = FunctionPointer(
        tuple(_type(item, scope) for item in params), results_of(items[1], scope)
    )
    for type_ in (*found.params, *found.results):
        if not is_one_value(type_):
            raise AnnotationError(f"{type_} is not one word", node, f"pass Ptr[{type_}]")
    return found


_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
}  # fmt: skip


def _length(node: ast.expr, scope: Mapping[str, Any]) -> int | None:
    """A constant integer expression in an annotation; ``None`` if it is too large."""
    match node:
        case ast.Constant(value=int() as value):
            return int(value)
        case ast.Name() | ast.Attribute():
            found = lookup(node, scope)
            if isinstance(found, int):
                return int(found)
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            a, b = _length(left, scope), _length(right, scope)
            if a is None or b is None or max(abs(a), abs(b)) > MAX_ELEMENTS:
                return None
            if isinstance(op, ast.LShift | ast.RShift) and not 0 <= b < 64:
                return None
            if not (isinstance(op, ast.FloorDiv | ast.Mod) and b == 0):
                return _OPERATORS[type(op)](a, b)
    raise AnnotationError(f"{ast.unparse(node)} is no constant", node)
