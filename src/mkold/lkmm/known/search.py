"""Chooses words for reads, as few as a question needs, to find what a value may be.

A question is a value, and the guard under which it is asked. The guard is a conjunction;
of its parts only those count that speak of the reads that the value speaks of, directly or
through other parts: the rest was found possible before and has no bearing. A part that is
a decision already reached is the decision's condition.

Known limits: gives up after ``MAX_STEPS`` choices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mkold.ir.nodes import evaluate_binary, evaluate_unary
from mkold.lkmm.graph.events import Decision
from mkold.lkmm.graph.values import Guard, Value, conjuncts, plainly

MAX_STEPS = 60_000
MAX_DOMAIN = 1_024

Domains = Mapping[int, Sequence[int]]
# What has to hold: a guard, or ("c", value, wanted) with wanted 0 or None for "not 0".
Part = Guard
# Words already known, by identity; what is known is kept alive with it.
Memo = dict[int, tuple[object, int]]
# A word, and the reads and words that gave it.
Way = tuple[int, tuple[tuple[int, int], ...]]
ONE_OF_TWO = (0, 1)


class TooLongError(Exception):
    """The question takes too many steps."""


class _Unknown(Exception):  # noqa: N818 - a signal, not an error
    """A read's word is needed that has not been chosen yet."""

    def __init__(self, read: int) -> None:
        self.read = read


class Chooser:
    """Answers questions about one graph under construction."""

    def __init__(self, decisions: Sequence[Decision], domains: Domains) -> None:
        self.decisions, self.domains = decisions, domains
        self._reads: dict[int, tuple[object, frozenset[int]]] = {}

    def ways(self, value: Value, live: Guard) -> list[Way]:
        """Every word that ``value`` may be where ``live`` holds, with what gives it.

        Raises
        ------
        TooLongError : there are too many ways to try
        """
        parts = self._parts(live)
        value = _settled(value, conjuncts(live), {})
        return _Search(self, self._bearing(self.reads(value), parts), value).all()

    def possible(self, guard: Guard) -> bool:
        """Whether ``guard`` can hold; yes where that takes too long to say."""
        rest = self._parts(guard)
        while rest:
            together = self._bearing(self.reads(rest[0]), rest) or rest[:1]
            rest = [part for part in rest if part not in together]
            try:
                if not _Search(self, together, 1).all(first=True):
                    return False
            except TooLongError:
                pass
        return True

    def _parts(self, live: Guard) -> list[Part]:
        conj = conjuncts(live)
        return [self._part(part, conj) for part in conj if part != 1]

    def _part(self, part: Guard, conj: set[Guard]) -> Part:
        negated = type(part) is tuple and part[0] == "!"
        base = part[1] if negated else part
        if type(base) is tuple and base[0] == "d":
            decision = self.decisions[base[1]]
            reached = decision.guard == 1 or conjuncts(decision.guard) <= conj
            if reached and decision.cond is not None:
                return ("c", decision.cond, 0 if negated else None)
        return part

    def _bearing(self, reads: frozenset[int], parts: list[Part]) -> list[Part]:
        """The parts that bear on ``reads``, directly or through others."""
        bearing: list[Part] = []
        rest = parts
        while True:
            near = [part for part in rest if not reads.isdisjoint(self.reads(part))]
            if not near:
                return bearing
            rest = [part for part in rest if reads.isdisjoint(self.reads(part))]
            bearing += near
            reads = reads.union(*map(self.reads, near))

    def reads(self, thing: Value | Part) -> frozenset[int]:
        """The reads that a value, guard or part speaks of; ``-1 - k``: free decision k."""
        if type(thing) is not tuple:
            return frozenset()
        known = self._reads.get(id(thing))
        if known is None:
            known = thing, self._reads_of(thing)
            self._reads[id(thing)] = known
        return known[1]

    def _reads_of(self, thing: tuple[object, ...]) -> frozenset[int]:
        tag = thing[0]
        if tag == "r":
            return frozenset((thing[1],))  # type: ignore[arg-type]
        if tag == "d":
            number = thing[1]
            assert isinstance(number, int)
            decision = self.decisions[number]
            if decision.cond is None:
                return self.reads(decision.guard) | {-1 - number}
            return self.reads(decision.guard) | self.reads(decision.cond)
        return frozenset().union(*map(self.reads, thing[1:]))


def _settled(value: Value, conj: set[Guard], memo: dict[int, tuple[Value, Value]]) -> Value:
    """``value`` with meetings of branches resolved that ``conj`` decides."""
    if type(value) is int or value[0] == "r":
        return value
    known = memo.get(id(value))
    if known is None:
        known = value, _settle(value, conj, memo)
        memo[id(value)] = known
    return known[1]


def _settle(value: Value, conj: set[Guard], memo: dict[int, tuple[Value, Value]]) -> Value:
    tag = value[0]
    if tag == "p":
        way = plainly(value[1], conj)
        if way is not None:
            return _settled(value[2] if way else value[3], conj, memo)
        first = value[1]
    else:
        first = value[1] if tag in "ub" else _settled(value[1], conj, memo)
    rest = tuple(_settled(part, conj, memo) for part in value[2:])
    same = first is value[1] and all(a is b for a, b in zip(rest, value[2:], strict=True))
    return value if same else (tag, first, *rest)


class _Search:
    """Tries words for one read after another, only as far as the question needs them."""

    def __init__(self, chooser: Chooser, parts: list[Part], value: Value) -> None:
        self.chooser, self.parts, self.value = chooser, parts, value
        self.steps = 0
        self.first = False
        self.found: list[Way] = []

    def all(self, *, first: bool = False) -> list[Way]:
        """Every way; with ``first``, no more than one."""
        self.first = first
        self._run({}, {})
        return self.found

    def _run(self, chosen: dict[int, int], memo: Memo) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise TooLongError
        try:
            reading = _Reading(self.chooser.decisions, chosen, memo)
            if all(map(reading.goes, self.parts)):
                word = reading.word(self.value)
                self.found.append((word, tuple(i for i in chosen.items() if i[0] >= 0)))
        except _Unknown as need:
            options = ONE_OF_TWO if need.read < 0 else self.chooser.domains[need.read]
            for word in options:
                chosen[need.read] = word
                self._run(chosen, dict(memo))
                if self.first and self.found:
                    break
            del chosen[need.read]


class _Reading:
    """Evaluates under a partial choice; ``memo`` keeps what is settled, by identity."""

    def __init__(
        self, decisions: Sequence[Decision], chosen: Mapping[int, int], memo: Memo
    ) -> None:
        self.decisions, self.chosen, self.memo = decisions, chosen, memo

    def goes(self, part: Part) -> bool:
        """Whether a part of the guard holds."""
        if type(part) is tuple and part[0] == "c":
            word = self.word(part[1])
            return word != 0 if part[2] is None else word == part[2]
        return self.holds(part)

    def word(self, value: Value) -> int:
        if type(value) is int:
            return value
        known = self.memo.get(id(value))
        if known is None:
            known = value, self._word(value)
            self.memo[id(value)] = known
        return known[1]

    def _word(self, value: Value) -> int:
        tag = value[0]
        if tag == "r":
            return self._chosen(value[1])
        if tag == "b":
            return evaluate_binary(value[1], self.word(value[2]), self.word(value[3]))
        if tag == "u":
            return evaluate_unary(value[1], self.word(value[2]))
        cond = self.holds(value[1]) if tag == "p" else self.word(value[1])
        return self.word(value[2] if cond else value[3])

    def _chosen(self, key: int) -> int:
        word = self.chosen.get(key)
        if word is None:
            raise _Unknown(key)
        return word

    def holds(self, guard: Guard) -> bool:
        if type(guard) is int:
            return bool(guard)
        known = self.memo.get(id(guard))
        if known is None:
            known = guard, int(self._holds(guard))
            self.memo[id(guard)] = known
        return bool(known[1])

    def _holds(self, guard: Guard) -> bool:
        tag = guard[0]
        if tag == "!":
            return not self.holds(guard[1])
        if tag == "&":
            return self.holds(guard[1]) and self.holds(guard[2])
        if tag == "|":
            return self.holds(guard[1]) or self.holds(guard[2])
        decision = self.decisions[guard[1]]
        if not self.holds(decision.guard):
            return False
        if decision.cond is None:
            return bool(self._chosen(-1 - guard[1]))
        return self.word(decision.cond) != 0
