"""Reads type annotations: as objects, as text, or as syntax.

Annotations are never evaluated as Python, so that a quoted name may be defined later and
``from __future__ import annotations`` changes nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mkold.base.errors import InputError
from mkold.lang.types import BOOL, U64, Pointer, Record, Repeat, Struct, Type, Word


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


class _Generic:
    """``Ptr`` or ``Array``; subscription keeps what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __getitem__(self, item: Any) -> Any:
        return Subscripted(self, item if isinstance(item, tuple) else (item,))


@dataclass(frozen=True, slots=True)
class Subscripted:
    """``Ptr[...]`` or ``Array[...]`` as an object."""

    base: _Generic
    items: tuple[Any, ...]


PTR = _Generic("Ptr")
ARRAY = _Generic("Array")
_HINT = "types are u64, bool, Ptr[T], Array[T, n], spinlock_t, rwlock_t, atomic_t, structs"


def resolve_text(annotation: Any, scope: Mapping[str, Any], what: str) -> Type:
    """The type that ``annotation`` (text or object) of ``what`` means in ``scope``."""
    try:
        return from_object(annotation, scope)
    except AnnotationError as error:
        raise InputError(f"{what}: {error.reason}; {error.hint or _HINT}") from None


def from_object(value: Any, scope: Mapping[str, Any]) -> Type:
    """The type that a run-time object stands for."""
    match value:
        case TypeName(type=type_):
            return type_
        case Word() | Pointer() | Repeat() | Record():
            return value
        case Subscripted(base=base, items=items):
            return _apply(base, list(items), scope, None)
        case str():
            try:
                node = ast.parse(value, mode="eval").body
            except SyntaxError:
                raise AnnotationError(f"'{value}' is no type", None, _HINT) from None
            return from_syntax(node, scope)
    if value is bool:
        return BOOL
    if value is int:
        return U64
    if isinstance(value, type) and issubclass(value, Struct):
        return Record(value)
    raise AnnotationError(f"{value!r} is no type of kernel Python", None, _HINT)


def from_syntax(node: ast.expr, scope: Mapping[str, Any]) -> Type:
    """The type that the syntax ``node`` stands for."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return from_object(node.value, scope)
    if isinstance(node, ast.Subscript):
        base = lookup(node.value, scope)
        if not isinstance(base, _Generic):
            text = ast.unparse(node.value)
            raise AnnotationError(f"{text} takes no parameters", node, _HINT)
        inner = node.slice
        items: list[Any] = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
        return _apply(base, items, scope, node)
    try:
        return from_object(lookup(node, scope), scope)
    except AnnotationError as error:
        raise AnnotationError(error.reason, error.node or node, error.hint) from None


def lookup(node: ast.expr, scope: Mapping[str, Any]) -> Any:
    """The object that a name or a dotted name means."""
    if isinstance(node, ast.Name):
        if node.id in ("bool", "int"):
            return {"bool": bool, "int": int}[node.id]
        if node.id in scope:
            return scope[node.id]
        raise AnnotationError(f"the type {node.id} is not defined", node, _HINT)
    if isinstance(node, ast.Attribute):
        base = lookup(node.value, scope)
        if hasattr(base, node.attr):
            return getattr(base, node.attr)
    raise AnnotationError(f"{ast.unparse(node)} is no type of kernel Python", node, _HINT)


def _apply(
    base: _Generic, items: list[Any], scope: Mapping[str, Any], node: ast.AST | None
) -> Type:
    def one(item: Any) -> Type:
        if isinstance(item, ast.expr):
            return from_syntax(item, scope)
        return from_object(item, scope)

    if base is PTR:
        if len(items) != 1:
            raise AnnotationError("Ptr takes one type, as in Ptr[u64]", node)
        return Pointer(one(items[0]))
    if len(items) != 2:
        raise AnnotationError("Array takes a type and a length, as in Array[u64, 4]", node)
    length = items[1]
    if isinstance(length, ast.expr):
        length = _length(length, scope)
    if not isinstance(length, int) or length < 1:
        raise AnnotationError("an array's length is a positive constant", node)
    return Repeat(one(items[0]), length)


def _length(node: ast.expr, scope: Mapping[str, Any]) -> Any:
    """A constant integer expression in an annotation."""
    code = compile(ast.Expression(node), "<annotation>", "eval")
    try:
        return eval(code, {"__builtins__": {}}, dict(scope))  # the module's own constants
    except Exception:
        raise AnnotationError(f"{ast.unparse(node)} is no constant", node) from None
