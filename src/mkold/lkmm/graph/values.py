"""Values: words while reads are still unknown.

A value is a word (``int``) or a node over what reads find. The functions here are the only
makers of nodes: they fold constants and identities, and make one node for each meaning, so
that equal values are identical and a value is a cheap key.

Identities that make a dependency vain (``r ^ r``, ``r * 0``) fold the value only: what a
value depends on is kept apart from it (``Taint``).

``fold`` walks a value from its leaves; ``evaluate`` goes only where it must, so that a
choice needs but one of its sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar
from weakref import WeakValueDictionary

from mkold.ir.nodes import evaluate_binary, evaluate_unary
from mkold.lkmm.graph.guards import Decided, Guard, both, conjuncts, either, plainly

Reads = frozenset[int]
NO_READS: Reads = frozenset()


class Words(Protocol):
    """Knows a word for each value, and which guards hold."""

    def word(self, value: Value) -> int: ...
    def found(self, read: int) -> int: ...
    def holds(self, guard: Guard) -> bool: ...


# ``reads`` of each node are the read events that it mentions; guards are not looked into.


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Found:
    """What read event number ``read`` found."""

    read: int
    reads: Reads

    def evaluate(self, words: Words) -> int:
        return words.found(self.read)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Applied:
    """A unary operator of ``mkold.ir.nodes``."""

    op: str
    a: Node
    reads: Reads

    def evaluate(self, words: Words) -> int:
        return evaluate_unary(self.op, words.word(self.a))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Combined:
    """A binary operator of ``mkold.ir.nodes``."""

    op: str
    a: Value
    b: Value
    reads: Reads

    def evaluate(self, words: Words) -> int:
        a, b = self.a, self.b
        return evaluate_binary(
            self.op,
            a if isinstance(a, int) else words.word(a),
            b if isinstance(b, int) else words.word(b),
        )


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Chosen:
    """``a`` if ``cond`` is not zero, else ``b``: by data flow."""

    cond: Node
    a: Value
    b: Value
    reads: Reads

    def evaluate(self, words: Words) -> int:
        return words.word(self.a if words.word(self.cond) else self.b)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Met:
    """``a`` where ``guard`` holds, else ``b``: two branches met."""

    guard: Guard
    a: Value
    b: Value
    reads: Reads

    def evaluate(self, words: Words) -> int:
        return words.word(self.a if words.holds(self.guard) else self.b)


Node = Found | Applied | Combined | Chosen | Met
Value = int | Node

_FOUND: WeakValueDictionary[int, Found] = WeakValueDictionary()
_APPLIED: WeakValueDictionary[tuple[str, Node], Applied] = WeakValueDictionary()
_COMBINED: WeakValueDictionary[tuple[str, Value, Value], Combined] = WeakValueDictionary()
_CHOSEN: WeakValueDictionary[tuple[Node, Value, Value], Chosen] = WeakValueDictionary()
_MET: WeakValueDictionary[tuple[Guard, Value, Value], Met] = WeakValueDictionary()

_SAME = {"xor": 0, "sub": 0, "eq": 1, "ne": 0, "ult": 0, "ule": 1, "slt": 0, "sle": 1}
_ZERO = frozenset({"and", "mul"})
_UNIT = frozenset({"add", "sub", "or", "xor", "shl", "lshr", "ashr"})


def reads_of(value: Value) -> Reads:
    """Read events that ``value`` mentions; guards are not looked into."""
    return NO_READS if isinstance(value, int) else value.reads


def found(read: int) -> Value:
    made = _FOUND.get(read)
    if made is None:
        made = _FOUND[read] = Found(read, frozenset((read,)))
    return made


def unary(op: str, a: Value) -> Value:
    if isinstance(a, int):
        return evaluate_unary(op, a)
    made = _APPLIED.get((op, a))
    if made is None:
        made = _APPLIED[op, a] = Applied(op, a, a.reads)
    return made


def binary(op: str, a: Value, b: Value) -> Value:
    if isinstance(a, int) and isinstance(b, int):
        return evaluate_binary(op, a, b)
    if a is b and op in _SAME:
        return _SAME[op]
    if op in _ZERO and (a == 0 or b == 0):
        return 0
    if b == 0 and op in _UNIT:
        return a
    if a == 0 and op in ("add", "or", "xor"):
        return b
    made = _COMBINED.get((op, a, b))
    if made is None:
        made = _COMBINED[op, a, b] = Combined(op, a, b, reads_of(a) | reads_of(b))
    return made


def select(c: Value, a: Value, b: Value) -> Value:
    if isinstance(c, int):
        return a if c else b
    if a == b:
        return a
    made = _CHOSEN.get((c, a, b))
    if made is None:
        reads = c.reads | reads_of(a) | reads_of(b)
        made = _CHOSEN[c, a, b] = Chosen(c, a, b, reads)
    return made


def phi(guard: Guard, a: Value, b: Value) -> Value:
    if guard == 1 or a == b:
        return a
    if guard == 0:
        return b
    made = _MET.get((guard, a, b))
    if made is None:
        made = _MET[guard, a, b] = Met(guard, a, b, reads_of(a) | reads_of(b))
    return made


def under(value: Value, guard: Guard) -> Value:
    """``value`` where ``guard`` holds, as far as that is plain to see."""
    conj = conjuncts(guard)
    while type(value) is Met:
        way = plainly(value.guard, conj)
        if way is None:
            break
        value = value.a if way else value.b
    return value


def resolve(value: Value, decided: Decided) -> Value:
    """``value`` with every meeting of branches settled by ``decided``."""
    if isinstance(value, int) or type(value) is Found:
        return value
    match value:
        case Met(guard, a, b):
            return resolve(a if decided.holds(guard) else b, decided)
        case Combined(op, a, b):
            return binary(op, resolve(a, decided), resolve(b, decided))
        case Applied(op, a):
            return unary(op, resolve(a, decided))
        case Chosen(c, a, b):
            return select(*(resolve(part, decided) for part in (c, a, b)))
    return value


# -- walks --------------------------------------------------------------------------------

T = TypeVar("T")


class Algebra(Protocol[T]):
    """What a walk makes of each sort of value, given what it made of the parts."""

    def word(self, word: int) -> T: ...
    def found(self, read: int) -> T: ...
    def applied(self, op: str, a: T) -> T: ...
    def combined(self, op: str, a: T, b: T) -> T: ...
    def chosen(self, cond: T, a: T, b: T) -> T: ...
    def met(self, guard: Guard, a: T, b: T) -> T: ...


def fold(value: Value, algebra: Algebra[T], memo: dict[Node, T]) -> T:
    """``value`` over ``algebra``; each part once, kept in ``memo``."""
    if isinstance(value, int):
        return algebra.word(value)
    if value in memo:
        return memo[value]
    match value:
        case Found(read):
            made = algebra.found(read)
        case Applied(op, a):
            made = algebra.applied(op, fold(a, algebra, memo))
        case Combined(op, a, b):
            made = algebra.combined(op, fold(a, algebra, memo), fold(b, algebra, memo))
        case Chosen(c, a, b):
            made = algebra.chosen(*(fold(part, algebra, memo) for part in (c, a, b)))
        case Met(guard, a, b):
            made = algebra.met(guard, fold(a, algebra, memo), fold(b, algebra, memo))
    memo[value] = made
    return made


class _Resolved:
    """The words of resolved values, in which no branches meet."""

    __slots__ = ("found",)

    def __init__(self, read: Callable[[int], int]) -> None:
        self.found = read

    def word(self, value: Value) -> int:
        return value if isinstance(value, int) else value.evaluate(self)

    def holds(self, guard: Guard) -> bool:
        raise AssertionError(f"branches meet in a resolved value, under {guard}")


def evaluate(value: Value, read: Callable[[int], int]) -> int:
    """The word that a resolved ``value`` is, given what each read event read."""
    return value if isinstance(value, int) else value.evaluate(_Resolved(read))


class Constraint(NamedTuple):
    """``value`` is ``wanted`` or, where that is None, anything but 0."""

    value: Value
    wanted: int | None

    def met_by(self, word: int) -> bool:
        return word != 0 if self.wanted is None else word == self.wanted


# -- dependencies -------------------------------------------------------------------------

Taint = dict[int, Guard]  # read event -> where the value depends on it
NO_TAINT: Taint = {}


def merge_taints(*taints: Taint) -> Taint:
    """What depends on any of the parts."""
    full = [taint for taint in taints if taint]
    if not full:
        return NO_TAINT
    if len(full) == 1:
        return full[0]
    result = dict(full[0])
    for taint in full[1:]:
        for read, guard in taint.items():
            result[read] = either(result.get(read, 0), guard)
    return result


def taint_under(taint: Taint, guard: Guard) -> Taint:
    """``taint`` where ``guard`` holds."""
    if guard == 1 or not taint:
        return taint
    return {read: both(g, guard) for read, g in taint.items()}
