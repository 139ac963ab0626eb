"""What a value may be under a guard, and whether a guard can hold.

A guard is a conjunction; of its parts only those count that bear on the reads asked about:
the rest was found possible before. A part that is a decision already reached is the
decision's condition.

Known limits: gives up after ``MAX_STEPS`` choices.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from mkold.lkmm.graph.events import Decision
from mkold.lkmm.graph.guards import Both, Either, Guard, Opposite, Taken, conjuncts, plainly
from mkold.lkmm.graph.values import (
    NO_READS,
    Applied,
    Chosen,
    Combined,
    Constraint,
    Found,
    Met,
    Node,
    Reads,
    Value,
    binary,
    phi,
    select,
    unary,
)
from mkold.lkmm.known.search import Domains, Part, Search, TooLongError, Way, connected

MAX_STEPS = 60_000
MAX_DOMAIN = 1_024


class Chooser:
    """Answers questions about one graph under construction."""

    def __init__(self, decisions: Sequence[Decision], domains: Domains) -> None:
        self.decisions, self.domains = decisions, domains
        self._reads: dict[Node | Guard, Reads] = {}

    def ways(self, value: Value, live: Guard) -> list[Way]:
        """Every word that ``value`` may be where ``live`` holds, with what gives it.

        Raises
        ------
        TooLongError : there are too many ways to try
        """
        parts = self._parts(live)
        value = _settled(value, conjuncts(live), {})
        together = connected(self.reads(value), parts, self.reads)
        return self._search(together, value).all()

    def possible(self, guard: Guard) -> bool:
        """Whether ``guard`` can hold; yes where that takes too long to say."""
        rest = self._parts(guard)
        while rest:
            together = connected(self.reads(rest[0]), rest, self.reads) or rest[:1]
            rest = [part for part in rest if part not in together]
            try:
                if not self._search(together, 1).all(first=True):
                    return False
            except TooLongError:
                pass
        return True

    def _search(self, parts: Sequence[Part], value: Value) -> Search:
        return Search(self.decisions, self.domains, parts, value, MAX_STEPS)

    def _parts(self, live: Guard) -> list[Part]:
        conj = conjuncts(live)
        return [self._part(part, conj) for part in conj if part != 1]

    def _part(self, part: Guard, conj: Set[Guard]) -> Part:
        base = part.guard if type(part) is Opposite else part
        if type(base) is Taken:
            decision = self.decisions[base.decision]
            reached = decision.guard == 1 or conjuncts(decision.guard) <= conj
            if reached and decision.cond is not None:
                return Constraint(decision.cond, None if base is part else 0)
        return part

    def reads(self, thing: Value | Part) -> Reads:
        """The reads that a value, guard or part speaks of; ``-1 - k``: free decision k."""
        if isinstance(thing, int):
            return NO_READS
        if isinstance(thing, Constraint):
            return self.reads(thing.value)
        known = self._reads.get(thing)
        if known is None:
            known = self._reads[thing] = self._reads_of(thing)
        return known

    def _reads_of(self, thing: Node | Guard) -> Reads:
        match thing:
            case Found(reads=reads):
                return reads
            case Taken(number):
                decision = self.decisions[number]
                if decision.cond is None:
                    return self.reads(decision.guard) | {-1 - number}
                return self.reads(decision.guard) | self.reads(decision.cond)
            case Opposite(part) | Applied(_, part):
                return self.reads(part)
            case Both(a, b) | Either(a, b) | Combined(_, a, b):
                return self.reads(a) | self.reads(b)
            case Chosen(c, a, b) | Met(c, a, b):
                return self.reads(c) | self.reads(a) | self.reads(b)
            case _:
                return NO_READS


def _settled(value: Value, conj: Set[Guard], memo: dict[Node, Value]) -> Value:
    """``value`` with meetings of branches resolved that ``conj`` decides."""
    if isinstance(value, int) or type(value) is Found:
        return value
    known = memo.get(value)
    if known is None:
        known = memo[value] = _settle(value, conj, memo)
    return known


def _settle(value: Node, conj: Set[Guard], memo: dict[Node, Value]) -> Value:
    match value:
        case Met(guard, a, b):
            way = plainly(guard, conj)
            if way is not None:
                return _settled(a if way else b, conj, memo)
            return phi(guard, _settled(a, conj, memo), _settled(b, conj, memo))
        case Applied(op, a):
            return unary(op, _settled(a, conj, memo))
        case Combined(op, a, b):
            return binary(op, _settled(a, conj, memo), _settled(b, conj, memo))
        case Chosen(c, a, b):
            return select(*(_settled(part, conj, memo) for part in (c, a, b)))
        case _:
            return value
