"""One function while it is built: its blocks, its locals, what it uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mkold.base.errors import InputError, Pos, SourceError
from mkold.ir.definition import Definition
from mkold.ir.nodes import Assign, Local, Stmt
from mkold.lang.meaning.source import Source
from mkold.lang.meaning.values import Place, Value, is_atom
from mkold.lang.types.structs import StructType, Type

# Deeper than this, a part of an expression gets a local of its own, so that nobody who
# walks expressions runs out of stack.
MAX_DEPTH = 64


@dataclass(slots=True)
class Jumps:
    """Where ``break`` and ``continue`` lead in the loop or block around.

    ``out`` is the label that ``break`` leaves, ``again`` the one that ``continue`` leaves;
    empty: the innermost loop's own ways.
    """

    is_loop: bool
    out: str = ""
    again: str = ""


@dataclass(slots=True)
class Uses:
    """What a function needs of others.

    Attributes
    ----------
    callees : functions by the label under which statements name them
    parameters : build parameters and their defaults
    structs : those whose layout it relies on, in order of first use
    pointed : labels of functions whose address it takes
    called_through : signatures of pointers through which it calls
    """

    callees: dict[str, Definition] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    structs: dict[StructType, None] = field(default_factory=dict)
    pointed: dict[str, None] = field(default_factory=dict)
    called_through: dict[str, None] = field(default_factory=dict)


class Builder:
    """The state that all of ``meaning`` works on.

    Attributes
    ----------
    name : the function's own
    types : the type of each local and parameter known so far
    fixed : locals whose type the source states
    slots : the locals that lie in memory, and where
    results : types of the results
    """

    def __init__(self, name: str, source: Source) -> None:
        self.name, self.source = name, source
        self.types: dict[str, Type] = {}
        self.fixed: set[str] = set()
        self.slots: dict[str, Place] = {}
        self.results: tuple[Type, ...] = ()
        self.uses = Uses()
        self.jumps: list[Jumps] = []
        self.frame_words = 0
        self._blocks: list[list[Stmt]] = [[]]
        self._n_temporaries = 0

    def error(self, at: Pos, reason: str, hint: str = "") -> SourceError:
        """An error at a position of the source."""
        return self.source.error(at, reason, hint)

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

    def unique(self, hint: str) -> str:
        """A new name; it holds a dot, so it clashes with none of the source."""
        self._n_temporaries += 1
        return f"{hint}.{self._n_temporaries}"

    def temporary(self, hint: str, type_: Type) -> str:
        """A new local."""
        name = self.unique(hint)
        self.types[name] = type_
        return name

    def saved(self, value: Value, hint: str = "value") -> Value:
        """``value`` in a new local, so that later assignments don't change it."""
        name = self.temporary(hint, value.type)
        self.emit(Assign(name, value.expr))
        return Value(Local(name), value.type, value.at)

    def atom(self, value: Value, hint: str = "value") -> Value:
        """``value`` in a form that may be written twice."""
        return value if is_atom(value.expr) else self.saved(value, hint)

    def shallow(self, value: Value) -> Value:
        """``value``, in a local if its expression is deep."""
        return value if value.depth < MAX_DEPTH else self.saved(value, "part")

    def label(self, definition: Definition) -> str:
        """The label under which statements name a function: its key, told from others'."""
        label = definition.key
        while self.uses.callees.setdefault(label, definition) is not definition:
            label += "'"
        return label

    def uses_parameters(self, defaults: dict[str, int], at: Pos) -> None:
        """Note build parameters and their defaults.

        Raises
        ------
        SourceError : one is known with another default
        """
        try:
            self.uses.parameters = merged(self.uses.parameters, defaults)
        except InputError as error:
            raise self.error(at, str(error)) from None


def merged(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    """The defaults in ``a`` and in ``b``.

    Raises
    ------
    InputError : a build parameter has another default in ``b`` than in ``a``
    """
    for name, default in b.items():
        if a.get(name, default) != default:
            raise InputError(
                f"the build parameter {name} has two defaults: {a[name]} and {default}"
            )
    return {**a, **b}
