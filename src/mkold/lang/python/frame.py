"""One function while it is read: the builder, and the names of its module."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from mkold.base.errors import Pos, SourceError
from mkold.ir.prims import PRIMS
from mkold.lang.meaning import places
from mkold.lang.meaning.builder import Builder
from mkold.lang.meaning.calls import Into
from mkold.lang.meaning.values import Operand, Place, Value
from mkold.lang.python.annotations import AnnotationError, from_syntax, results_of
from mkold.lang.python.source import PythonSource
from mkold.lang.types.structs import Pointer, Type

# Python's own parser gives up at about 100 blocks and 200 brackets in each other.
MAX_NESTING = 100


@dataclass(slots=True)
class Frame:
    """What every part of the front end shares.

    Attributes
    ----------
    b : the function that is built
    source : its file
    scope : the module's names
    assigned : every name the function assigns anywhere (so, a local)
    outer : names of functions around it that it uses
    in_memory : locals whose address is taken
    lower : reads any expression (``expressions.operand``)
    bound : names that a primitive gives a meaning inside its arguments (``VAL``)
    """

    b: Builder
    source: PythonSource
    scope: Mapping[str, Any]
    assigned: Collection[str]
    outer: Collection[str]
    in_memory: Collection[str]
    lower: Callable[[Frame, ast.expr, Into], Operand]
    bound: dict[str, Value] = field(default_factory=dict)
    nesting: int = 0

    def pos(self, node: ast.AST) -> Pos:
        """Where ``node`` is."""
        return self.source.pos(node)

    def error(self, node: ast.AST, reason: str, hint: str = "") -> SourceError:
        """An error that points at ``node``."""
        return self.source.error_at(node, reason, hint)

    @contextmanager
    def nested(self, node: ast.AST) -> Iterator[None]:
        """One level deeper.

        Raises
        ------
        SourceError : too deep
        """
        if self.nesting >= MAX_NESTING:
            hint = "give a part of it a name, or a function"
            raise self.error(node, f"more than {MAX_NESTING} levels in each other", hint)
        self.nesting += 1
        try:
            yield
        finally:
            self.nesting -= 1

    # Reading expressions.

    def operand(self, node: ast.expr, into: Into = None) -> Operand:
        """A value, a place, or the results of a call."""
        with self.nested(node):
            return self.lower(self, node, into)

    def value(self, node: ast.expr, into: str | None = None) -> Value:
        """A word; memory that ``node`` names is read (plain).

        ``into`` is the local that the word is about to be assigned to; a primitive then
        writes it without a temporary.
        """
        operand = self.operand(node, None if into is None else (into,))
        return places.read(self.b, operand, into)

    def place(self, node: ast.expr) -> Place:
        """What ``node`` names, which must be an lvalue.

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

    # Names of the module.

    def is_local(self, name: str) -> bool:
        """Whether ``name`` is a local, a parameter, or bound by a primitive."""
        return name in self.assigned or name in self.b.types or name in self.bound

    def lookup(self, node: ast.Name) -> Any:
        """The object that a name of the module means.

        Raises
        ------
        SourceError : there is none
        """
        name = node.id
        if name in self.outer:
            hint = "use a constant of the module, or a parameter"
            reason = f"{name} belongs to the function around, and there are no closures"
            raise self.error(node, reason, hint)
        if name in self.scope:
            return self.scope[name]
        if hasattr(builtins, name):
            return getattr(builtins, name)
        hint = "a function must be defined before the one that calls it, as in C"
        if name in PRIMS:
            hint = f"from mkold.lang import {name}"
        raise self.error(node, f"{name} is not defined", hint)

    def static(self, node: ast.expr) -> Any:
        """The Python object that a name or a dotted name means, or ``None``."""
        if isinstance(node, ast.Name):
            if self.is_local(node.id) or node.id in self.outer:
                return None
            return self.scope.get(node.id, getattr(builtins, node.id, None))
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
            raise self._at(error, node) from None

    def results_of(self, node: ast.expr | None) -> tuple[Type, ...]:
        """Types of the results that ``-> ...`` states.

        Raises
        ------
        SourceError : it states none
        """
        try:
            return results_of(node, self.scope)
        except AnnotationError as error:
            assert node is not None
            raise self._at(error, node) from None

    def _at(self, error: AnnotationError, node: ast.expr) -> SourceError:
        inner = error.node
        if inner is None or not any(part is inner for part in ast.walk(node)):
            inner = node
        return self.error(inner, error.reason, error.hint)
