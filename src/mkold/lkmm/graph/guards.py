"""Guards: under which decisions something happens.

A guard is 0 (never), 1 (always) or a formula over numbered *decisions*, each of which is
a branch that goes one way or the other. The functions here are the only makers of its
nodes: they fold what is plain, and make one node for each meaning, so that equal guards
are identical and a guard is a cheap key.

``fold`` walks a guard; who walks says what a decision is and how answers go together.
"""

from __future__ import annotations

from collections.abc import KeysView, Set
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary


class Ways(Protocol):
    """Knows of a guard whether it holds."""

    def holds(self, guard: Guard) -> bool: ...
    def taken(self, decision: int) -> bool: ...


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Taken:
    """Decision number ``decision`` went its way."""

    decision: int

    def holds(self, ways: Ways) -> bool:
        return ways.taken(self.decision)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Opposite:
    guard: Guard

    def holds(self, ways: Ways) -> bool:
        return not ways.holds(self.guard)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Both:
    a: Guard
    b: Guard

    def holds(self, ways: Ways) -> bool:
        return ways.holds(self.a) and ways.holds(self.b)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Either:
    a: Guard
    b: Guard

    def holds(self, ways: Ways) -> bool:
        return ways.holds(self.a) or ways.holds(self.b)


Guard = int | Taken | Opposite | Both | Either

_TAKEN: WeakValueDictionary[int, Taken] = WeakValueDictionary()
_OPPOSITE: WeakValueDictionary[Guard, Opposite] = WeakValueDictionary()
_BOTH: WeakValueDictionary[tuple[Guard, Guard], Both] = WeakValueDictionary()
_EITHER: WeakValueDictionary[tuple[Guard, Guard], Either] = WeakValueDictionary()


def taken(decision: int) -> Guard:
    made = _TAKEN.get(decision)
    if made is None:
        made = _TAKEN[decision] = Taken(decision)
    return made


def negate(g: Guard) -> Guard:
    if isinstance(g, int):
        return 1 - g
    if type(g) is Opposite:
        return g.guard
    made = _OPPOSITE.get(g)
    if made is None:
        made = _OPPOSITE[g] = Opposite(g)
    return made


def both(g: Guard, h: Guard) -> Guard:
    if g == 1 or g is h:
        return h
    if h == 1:
        return g
    if g == 0 or h == 0:
        return 0
    made = _BOTH.get((g, h))
    if made is None:
        made = _BOTH[g, h] = Both(g, h)
    return made


def either(g: Guard, h: Guard) -> Guard:
    if g == 0 or g is h:
        return h
    if h == 0:
        return g
    if g == 1 or h == 1:
        return 1
    made = _EITHER.get((g, h))
    if made is None:
        made = _EITHER[g, h] = Either(g, h)
    return made


class Decided(dict[int, bool]):
    """The ways that a path goes; a decision that it does not meet counts as false."""

    def holds(self, guard: Guard) -> bool:
        return bool(guard) if isinstance(guard, int) else guard.holds(self)

    def taken(self, decision: int) -> bool:
        return self.get(decision, False)


# -- what is plain to see ---------------------------------------------------------------


def conjuncts(guard: Guard) -> KeysView[Guard]:
    """The parts that ``guard`` is the conjunction of, in an order of their own."""
    parts: dict[Guard, None] = {}
    waiting = [guard]
    while waiting:
        part = waiting.pop()
        if type(part) is Both:
            waiting += (part.a, part.b)
        else:
            parts[part] = None
    return parts.keys()


def implies(strong: Guard, weak: Guard) -> bool:
    """Whether ``strong`` plainly holds only where ``weak`` does; may say no too often."""
    return weak == 1 or strong is weak or conjuncts(weak) <= conjuncts(strong)


def plainly(guard: Guard, conj: Set[Guard]) -> bool | None:
    """What the conjunction ``conj`` plainly says of ``guard``; None: nothing."""
    parts = conjuncts(guard)
    if parts <= conj:
        return True
    return False if any(negate(part) in conj for part in parts) else None


def cases(guard: Guard, limit: int = 16) -> list[Guard]:
    """``guard`` as alternatives without a choice at their top, if they are few."""
    done: list[Guard] = []
    waiting = [guard]
    while waiting:
        one = waiting.pop()
        choice = next((p for p in conjuncts(one) if type(p) is Either), None)
        if choice is None or contradicts(one):
            done.append(one)
            continue
        rest: Guard = 1
        for part in conjuncts(one):
            if part is not choice:
                rest = both(rest, part)
        waiting += [both(rest, choice.a), both(rest, choice.b)]
        if len(waiting) + len(done) > limit:
            return [guard]
    return done


def contradicts(guard: Guard) -> bool:
    """Whether ``guard`` plainly can't hold; may say no too often."""
    parts = conjuncts(guard)
    return any(negate(part) in parts for part in parts)
