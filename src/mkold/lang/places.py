"""Lowers names and places: constants, fields, elements, and reading what is there.

Rules
-----
* A place is an address, a type and its source text; reading it is a plain load.
* A pointer in memory is read (plain) to be followed.
"""

from __future__ import annotations

import ast
import enum
import re
from types import ModuleType
from typing import Any

from mkold.base.errors import InputError
from mkold.ir.nodes import Const, Expr, Local, Op
from mkold.lang.annotations import AnnotationError, from_syntax
from mkold.lang.frame import Frame
from mkold.lang.kernel import KernelFunction, Parameter, Primitive, Special, merged
from mkold.lang.refuse import refusal
from mkold.lang.types import (
    BOOL,
    NULL_TYPE,
    U64,
    Pointer,
    Record,
    Repeat,
    Struct,
    Type,
    n_words,
)
from mkold.lang.values import Operand, Place, Results, Value, binary, word


class Places(Frame):
    """The part of the lowering that deals with names and places."""

    def operand(self, node: ast.expr, into: str | None = None) -> Operand:
        """Lower ``node``; defined with the other expressions."""
        raise NotImplementedError

    def value(self, node: ast.expr, into: str | None = None) -> Value:
        """Lower ``node`` to a word; memory it names is read (plain).

        ``into`` is the local that the word is about to be assigned to; a single
        primitive then writes it without a temporary.
        """
        return self.read(self.operand(node, into), node, into)

    def read(self, operand: Operand, node: ast.expr, into: str | None = None) -> Value:
        """The word that ``operand`` stands for."""
        match operand:
            case Value():
                return operand
            case Results(values=values):
                if not values:
                    raise self.error(node, "this call returns nothing, and a value is needed")
                hint = "receive them: a, b = f(...)"
                raise self.error(node, f"this call returns {len(values)} values", hint)
            case Place(address=address, type=type_, text=text):
                if isinstance(type_, Record | Repeat):
                    kind = "struct" if isinstance(type_, Record) else "array"
                    raise self.error(
                        node,
                        f"{text} is {_a(kind)} in memory, and a word is needed",
                        "name a field or an element, or take addr(...)",
                    )
                found = U64 if type_ == BOOL else type_  # memory holds any word
                dst = self.destination(into, hint_of(text), found)
                self.emit(Op("load", (dst,), (address,), text, self.pos(node)))
                return Value(Local(dst), found)

    def place(self, node: ast.expr) -> Place:
        """Lower ``node``, which must be an lvalue.

        Raises
        ------
        SourceError : it is a value; the hint says how to name the place
        """
        operand = self.operand(node)
        if isinstance(operand, Place):
            return operand
        text = ast.unparse(node)
        hint = "a place is p.field, p[i] or p.value"
        if isinstance(operand, Value) and isinstance(operand.type, Pointer):
            hint = f"write {text}.value for the word it points to"
        raise self.error(node, f"{text} is a value, and a place in memory is needed", hint)

    # Names and constants.

    def constant(self, node: ast.Constant) -> Value:
        """A number or a truth value of the source."""
        if isinstance(node.value, bool):
            return Value(Const(int(node.value)), BOOL)
        if isinstance(node.value, int):
            return Value(self._checked_word(node.value, node))
        if node.value is None:
            raise self.error(node, "None is not in kernel Python", "use NULL, or 0")
        kind = type(node.value).__name__
        hint = "kernel Python has 64-bit words only"
        raise self.error(node, f"a value of type {kind} is not in kernel Python", hint)

    def _checked_word(self, value: int, node: ast.expr, symbol: str = "") -> Const:
        if not -(1 << 63) <= value < 1 << 64:
            raise self.error(node, f"the constant {value} does not fit a 64-bit word")
        return Const(word(value).value, symbol)

    def named(self, node: ast.Name) -> Operand:
        """What a name stands for."""
        if node.id in self.types:
            return Value(Local(node.id), self.types[node.id])
        if node.id in self.assigned:
            raise self.error(node, f"{node.id} is read before it is assigned")
        return self.object(self.lookup(node), node)

    def object(self, found: Any, node: ast.expr) -> Operand:
        """The value that a Python object of the module stands for."""
        match found:
            case bool():
                return Value(Const(int(found)), BOOL)
            case enum.IntEnum() | int():
                return Value(self._checked_word(int(found), node, ast.unparse(node)))
            case Parameter(expr=expr):
                try:
                    self.parameters = merged(self.parameters, found.defaults)
                except InputError as error:
                    raise self.error(node, str(error)) from None
                return Value(expr)
            case Special(name="NULL"):
                return Value(Const(0), NULL_TYPE)
        text = ast.unparse(node)
        hint = "names are locals, integer constants, parameter(...), Structs, functions"
        if isinstance(found, Primitive | KernelFunction | Special):
            raise self.error(node, f"{text} is a function, and a value is needed", "call it")
        kind = type(found).__name__
        raise self.error(node, f"{text} is a Python {kind}, which has no value here", hint)

    # Places.

    def attribute(self, node: ast.Attribute) -> Operand:
        """A field, ``p.value``, or a name of a module."""
        found = self.static(node.value)
        if isinstance(found, ModuleType) or (
            isinstance(found, type) and issubclass(found, enum.IntEnum)
        ):
            if not hasattr(found, node.attr):
                raise self.error(node, f"{ast.unparse(node.value)} has no {node.attr}")
            return self.object(getattr(found, node.attr), node)
        if isinstance(found, type) and issubclass(found, Struct):
            if node.attr == "size":
                self.structs[found] = None
                return Value(word(found.size))
            hint = f'{found.__name__}.size and {found.__name__}.offset("field") are constants'
            raise self.error(node, f"{found.__name__} is a struct, not a place", hint)
        base = self.operand(node.value)
        text = ast.unparse(node)
        if isinstance(base, Place) and isinstance(base.type, Record):
            return self._field(base.address, base.type, node, text)
        pointer = self.read(base, node.value)
        if not isinstance(pointer.type, Pointer) or pointer.type.target is None:
            raise self.error(
                node,
                f"{ast.unparse(node.value)} is {_a(str(pointer.type))}, which has no fields",
                "declare it Ptr[SomeStruct], or cast(Ptr[SomeStruct], ...)",
            )
        target = pointer.type.target
        if isinstance(target, Record) and not (
            node.attr == "value" and not _has_field(target.struct, "value")
        ):
            return self._field(pointer.expr, target, node, text)
        if node.attr != "value":
            hint = "p.value is the word it points to, p[i] the i-th from there"
            raise self.error(node, f"{ast.unparse(node.value)} points to {target}", hint)
        return Place(pointer.expr, target, text)

    def _field(self, base: Expr, record: Record, node: ast.Attribute, text: str) -> Place:
        try:
            names = [f.name for f in record.struct.layout.fields]
        except InputError as error:  # the struct itself is wrong
            raise self.error(node, str(error)) from None
        if node.attr not in names:
            reason = f"struct {record} has no field {node.attr}"
            raise self.error(node, reason, f"fields: {', '.join(names)}")
        self.structs[record.struct] = None
        type_, offset = record.struct.field(node.attr)
        return Place(binary("add", base, word(offset)), type_, text)

    def subscript(self, node: ast.Subscript) -> Place:
        """An element of an array or of a pointer."""
        if isinstance(node.slice, ast.Slice):
            raise self.error(node.slice, *refusal(node.slice))
        base = self.operand(node.value)
        text = ast.unparse(node)
        if isinstance(base, Place) and isinstance(base.type, Repeat):
            element, start = base.type.element, base.address
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
                index, n = node.slice.value, base.type.n
                if not 0 <= index < n:
                    raise self.error(
                        node, f"{text} is outside {base.text}, which has {n} elements"
                    )
        else:
            pointer = self.read(base, node.value)
            if not isinstance(pointer.type, Pointer) or pointer.type.target is None:
                raise self.error(
                    node,
                    f"{ast.unparse(node.value)} is {_a(str(pointer.type))}, not an array",
                    "declare it Ptr[u64], or cast(Ptr[u64], ...)",
                )
            element, start = pointer.type.target, pointer.expr
        index_value = self.value(node.slice)
        step = binary("mul", index_value.expr, word(n_words(element)))
        return Place(binary("add", start, step), element, text)

    # Names of the module.

    def static(self, node: ast.expr) -> Any:
        """The Python object that a name or a dotted name means, or ``None``."""
        if isinstance(node, ast.Name):
            if node.id in self.types or node.id in self.assigned:
                return None
            return self.scope.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.static(node.value)
            if isinstance(base, ModuleType):
                return getattr(base, node.attr, None)
        return None

    def type_of(self, node: ast.expr) -> Type:
        """The type that an annotation means.

        Raises
        ------
        SourceError : it means none
        """
        try:
            return from_syntax(node, self.scope)
        except AnnotationError as error:
            where = error.node if isinstance(error.node, ast.expr) else node
            if not hasattr(where, "lineno") or not _within(where, node):
                where = node
            raise self.error(where, error.reason, error.hint) from None


def _within(inner: ast.AST, outer: ast.AST) -> bool:
    return any(node is inner for node in ast.walk(outer))


def _has_field(struct: type[Struct], name: str) -> bool:
    return any(f.name == name for f in struct.layout.fields)


def hint_of(text: str) -> str:
    """A short name for what was read from the place ``text``: its last field."""
    outside = re.sub(r"\[[^\[\]]*\]|\([^()]*\)", "", text)
    names = [part for part in re.findall(r"[A-Za-z_]\w*", outside) if part != "value"]
    return names[-1] if names else "word"


def _a(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeio' else 'a'} {noun}"
