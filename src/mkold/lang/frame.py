"""The state of one function while it is lowered: names, types, blocks, errors."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mkold.base.errors import Pos, SourceError
from mkold.ir.nodes import Stmt
from mkold.lang.kernel import KernelFunction
from mkold.lang.source import Source
from mkold.lang.types import NULL_TYPE, Pointer, Struct, Type, converts


class Frame:
    """What every part of the lowering shares.

    Attributes
    ----------
    name : the function's own
    types : the type of each local and parameter known so far
    assigned : every name the function assigns anywhere (so, a local)
    scope : the module's names
    """

    def __init__(
        self, name: str, source: Source, scope: Mapping[str, Any], assigned: set[str]
    ) -> None:
        self.name, self.source, self.scope, self.assigned = name, source, scope, assigned
        self.types: dict[str, Type] = {}
        self.callees: dict[str, KernelFunction] = {}
        self.parameters: dict[str, int] = {}  # build parameters used, and their defaults
        self.structs: dict[type[Struct], None] = {}  # used, in order
        self._blocks: list[list[Stmt]] = [[]]
        self._n_temporaries = 0

    def error(self, node: ast.AST, reason: str, hint: str = "") -> SourceError:
        """A ``SourceError`` that points at ``node``."""
        return self.source.error(node, reason, hint)

    def pos(self, node: ast.AST) -> Pos:
        """Where ``node`` is."""
        return self.source.pos(node)

    def emit(self, stmt: Stmt) -> None:
        """Append to the block being built."""
        self._blocks[-1].append(stmt)

    @contextmanager
    def block(self) -> Iterator[list[Stmt]]:
        """Collect what is emitted inside into a list of its own."""
        stmts: list[Stmt] = []
        self._blocks.append(stmts)
        try:
            yield stmts
        finally:
            self._blocks.pop()

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Undo names that lowering inside makes."""
        types, n = dict(self.types), self._n_temporaries
        try:
            yield
        finally:
            self.types, self._n_temporaries = types, n

    def temporary(self, hint: str, type_: Type) -> str:
        """A new local; its name holds a dot, so it clashes with none of the source."""
        self._n_temporaries += 1
        name = f"{hint}.{self._n_temporaries}"
        self.types[name] = type_
        return name

    def destination(self, into: str | None, hint: str, type_: Type) -> str:
        """``into``, or a new local."""
        return into if into is not None else self.temporary(hint, type_)

    def lookup(self, node: ast.Name) -> Any:
        """The object that a name of the module means."""
        if node.id in self.scope:
            return self.scope[node.id]
        if hasattr(builtins, node.id):
            return getattr(builtins, node.id)
        hint = "a function must be defined before the one that calls it, as in C"
        raise self.error(node, f"{node.id} is not defined", hint)

    def declare(self, name: str, type_: Type, node: ast.AST) -> None:
        """Note that ``name`` is assigned a value of ``type_``."""
        known = self.types.get(name)
        if known is None or (known == NULL_TYPE and isinstance(type_, Pointer)):
            self.types[name] = type_
        elif not converts(type_, known):
            hint = f"cast(..., ...) it, or give {name} a type where it is first assigned"
            raise self.error(node, f"{name} is {known}, and this is {type_}", hint)
