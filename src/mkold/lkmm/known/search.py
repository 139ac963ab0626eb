"""Chooses words for reads, as few as a question needs, to find what a value may be.

A question is a value, and *parts* that all have to hold: guards, and constraints on
values. Only those parts count that speak of the reads that the value speaks of, directly
or through other parts (``connected``). Words are chosen for one read after another, each
only when something can't be told without it.

Known limits: gives up after a number of choices that the asker names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from mkold.lkmm.graph.events import Decision
from mkold.lkmm.graph.guards import Guard
from mkold.lkmm.graph.values import Constraint, Node, Value

Domains = Mapping[int, Sequence[int]]
Reads = frozenset[int]
Part = Guard | Constraint
Memo = dict[Node | Guard, int]  # what is known so far
# A word, and the reads and words that gave it.
Way = tuple[int, tuple[tuple[int, int], ...]]
ONE_OF_TWO = (0, 1)


class TooLongError(Exception):
    """The question takes too many steps."""


class _Unknown(Exception):  # noqa: N818 - a signal, not an error
    """A read's word is needed that has not been chosen yet."""

    def __init__(self, read: int) -> None:
        self.read = read


def connected(
    reads: Reads, parts: Iterable[Part], reads_of: Callable[[Part], Reads]
) -> list[Part]:
    """The parts that bear on ``reads``, directly or through others."""
    bearing: list[Part] = []
    rest = [(part, reads_of(part)) for part in parts]
    while True:
        near = [pair for pair in rest if not reads.isdisjoint(pair[1])]
        if not near:
            return bearing
        rest = [pair for pair in rest if reads.isdisjoint(pair[1])]
        bearing += [part for part, _ in near]
        reads = reads.union(*(more for _, more in near))


class Search:
    """Every choice of words under which ``parts`` hold, and what ``value`` is then.

    ``decisions`` are what guards speak of; number k, if it may go either way, is chosen
    like a read with the number -1 - k.
    """

    def __init__(
        self,
        decisions: Sequence[Decision],
        domains: Domains,
        parts: Sequence[Part],
        value: Value,
        most: int,
    ) -> None:
        self.decisions, self.domains = decisions, domains
        self.parts, self.value = parts, value
        self.most = most
        self.steps = 0
        self.first = False
        self.found: list[Way] = []

    def all(self, *, first: bool = False) -> list[Way]:
        """Every way; with ``first``, no more than one.

        Raises
        ------
        TooLongError : there are too many ways to try
        """
        self.first = first
        self._run({}, {}, 0)
        return self.found

    def _run(self, chosen: dict[int, int], memo: Memo, at: int) -> None:
        """Go on with ``chosen``; the parts before number ``at`` hold."""
        self.steps += 1
        if self.steps > self.most:
            raise TooLongError
        reading = _Reading(self.decisions, chosen, memo)
        parts = self.parts
        try:
            while at < len(parts):
                if not reading.goes(parts[at]):
                    return
                at += 1
            word = reading.word(self.value)
            self.found.append((word, tuple(i for i in chosen.items() if i[0] >= 0)))
        except _Unknown as need:
            options = ONE_OF_TWO if need.read < 0 else self.domains[need.read]
            for word in options:
                chosen[need.read] = word
                self._run(chosen, dict(memo), at)
                if self.first and self.found:
                    break
            del chosen[need.read]


class _Reading:
    """Evaluates under a partial choice; ``memo`` keeps what is settled."""

    __slots__ = ("chosen", "decisions", "memo")

    def __init__(
        self, decisions: Sequence[Decision], chosen: Mapping[int, int], memo: Memo
    ) -> None:
        self.decisions, self.chosen, self.memo = decisions, chosen, memo

    def goes(self, part: Part) -> bool:
        """Whether a part holds."""
        if type(part) is Constraint:
            return part.met_by(self.word(part.value))
        return self.holds(part)  # type: ignore[arg-type]

    def word(self, value: Value) -> int:
        if isinstance(value, int):
            return value
        known = self.memo.get(value)
        if known is None:
            known = self.memo[value] = value.evaluate(self)
        return known

    def found(self, read: int) -> int:
        word = self.chosen.get(read)
        if word is None:
            raise _Unknown(read)
        return word

    def holds(self, guard: Guard) -> bool:
        if isinstance(guard, int):
            return bool(guard)
        known = self.memo.get(guard)
        if known is None:
            known = self.memo[guard] = int(guard.holds(self))
        return bool(known)

    def taken(self, decision: int) -> bool:
        asked = self.decisions[decision]
        if not self.holds(asked.guard):
            return False
        if asked.cond is None:
            return bool(self.found(-1 - decision))
        return self.word(asked.cond) != 0
