"""Values and guards walked together, from the leaves, each part once and without recursion.

A value may meet where a guard holds; a guard speaks of decisions; a decision turns on a
value. A ``Walk`` is told what to make of each, and keeps what it made, by identity: equal
parts are the same node (see ``graph``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from mkold.lkmm.graph.events import Decision
from mkold.lkmm.graph.guards import Both, Either, Guard, Opposite, Taken
from mkold.lkmm.graph.values import Applied, Chosen, Combined, Found, Met, Value

V = TypeVar("V")
G = TypeVar("G")
Part = Value | Guard


class Walk(ABC, Generic[V, G]):
    """Makes a ``V`` of each value and a ``G`` of each guard over ``decisions``."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.decisions = decisions
        self._values: dict[Value, V] = {}
        self._guards: dict[Guard, G] = {}

    @abstractmethod
    def word(self, word: int) -> V:
        """A known word."""

    @abstractmethod
    def found(self, read: int) -> V:
        """What a read found."""

    @abstractmethod
    def applied(self, op: str, a: V) -> V:
        """A unary operator."""

    @abstractmethod
    def combined(self, op: str, a: V, b: V) -> V:
        """A binary operator."""

    @abstractmethod
    def chosen(self, cond: V, a: V, b: V) -> V:
        """``a`` where ``cond`` is not 0, else ``b``."""

    @abstractmethod
    def met(self, guard: G, a: V, b: V) -> V:
        """``a`` where ``guard`` holds, else ``b``."""

    @abstractmethod
    def always(self, holds: bool) -> G:
        """The guard 1 or 0."""

    @abstractmethod
    def taken(self, decision: int, guard: G, cond: V | None) -> G:
        """A decision that is reached under ``guard`` and goes by ``cond``, or freely."""

    @abstractmethod
    def opposite(self, guard: G) -> G:
        """Not."""

    @abstractmethod
    def both(self, a: G, b: G) -> G:
        """And."""

    @abstractmethod
    def either(self, a: G, b: G) -> G:
        """Or."""

    # -- the walk -----------------------------------------------------------------

    def assume(self, known: Mapping[Guard, G]) -> None:
        """Take these guards as known."""
        self._guards.update(known)

    def value(self, value: Value) -> V:
        """What is made of ``value``."""
        if isinstance(value, int):
            return self.word(value)
        if value not in self._values:
            self._run(value)
        return self._values[value]

    def guard(self, guard: Guard) -> G:
        """What is made of ``guard``."""
        if isinstance(guard, int):
            return self.always(bool(guard))
        if guard not in self._guards:
            self._run(guard)
        return self._guards[guard]

    def _run(self, part: Part) -> None:
        waiting: list[Part] = [part]
        while waiting:
            part = waiting[-1]
            if self._made(part):
                waiting.pop()
                continue
            missing = [p for p in self.parts(part) if not self._made(p)]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            self._make(part)

    def _made(self, part: Part) -> bool:
        return isinstance(part, int) or part in self._values or part in self._guards

    def parts(self, part: Part) -> Sequence[Part]:
        """What ``part`` is made of."""
        match part:
            case Combined(_, a, b):
                return (a, b)
            case Met(guard, a, b):
                return (guard, a, b)
            case Applied(_, a):
                return (a,)
            case Chosen(cond, a, b):
                return (cond, a, b)
            case Taken(number):
                decision = self.decisions[number]
                if decision.cond is None:
                    return (decision.guard,)
                return (decision.guard, decision.cond)
            case Opposite(guard):
                return (guard,)
            case Both(g, h) | Either(g, h):
                return (g, h)
        return ()

    def _make(self, part: Part) -> None:
        match part:
            case Found(read):
                self._values[part] = self.found(read)
            case Applied(op, a):
                self._values[part] = self.applied(op, self.value(a))
            case Combined(op, a, b):
                self._values[part] = self.combined(op, self.value(a), self.value(b))
            case Chosen(cond, a, b):
                self._values[part] = self.chosen(self.value(cond), self.value(a), self.value(b))
            case Met(guard, a, b):
                self._values[part] = self.met(self.guard(guard), self.value(a), self.value(b))
            case Taken(number):
                decision = self.decisions[number]
                way = None if decision.cond is None else self.value(decision.cond)
                self._guards[part] = self.taken(number, self.guard(decision.guard), way)
            case Opposite(guard):
                self._guards[part] = self.opposite(self.guard(guard))
            case Both(g, h):
                self._guards[part] = self.both(self.guard(g), self.guard(h))
            case Either(g, h):
                self._guards[part] = self.either(self.guard(g), self.guard(h))


class Reach(Walk[frozenset[int], frozenset[int]]):
    """The reads that a value or guard speaks of in any way; ``-1 - k``: free decision k."""

    NONE: frozenset[int] = frozenset()

    def of(self, part: Part) -> frozenset[int]:
        """The reads of a value or a guard."""
        if isinstance(part, int):
            return self.NONE
        if isinstance(part, Found | Applied | Combined | Chosen | Met):
            return self.value(part)
        return self.guard(part)

    def word(self, word: int) -> frozenset[int]:
        return self.NONE

    def found(self, read: int) -> frozenset[int]:
        return frozenset((read,))

    def applied(self, op: str, a: frozenset[int]) -> frozenset[int]:
        return a

    def combined(self, op: str, a: frozenset[int], b: frozenset[int]) -> frozenset[int]:
        return a | b

    def chosen(
        self, cond: frozenset[int], a: frozenset[int], b: frozenset[int]
    ) -> frozenset[int]:
        return cond | a | b

    def met(
        self, guard: frozenset[int], a: frozenset[int], b: frozenset[int]
    ) -> frozenset[int]:
        return guard | a | b

    def always(self, holds: bool) -> frozenset[int]:
        return self.NONE

    def taken(
        self, decision: int, guard: frozenset[int], cond: frozenset[int] | None
    ) -> frozenset[int]:
        return guard | (cond if cond is not None else {-1 - decision})

    def opposite(self, guard: frozenset[int]) -> frozenset[int]:
        return guard

    def both(self, a: frozenset[int], b: frozenset[int]) -> frozenset[int]:
        return a | b

    either = both
