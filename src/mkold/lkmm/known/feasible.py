"""Whether the branches of a path can go together, by what its reads may find.

A constraint is ``(value, wanted)``: the value is ``wanted``, or not 0 if that is ``None``.
Only constraints that share reads, directly or through others, are looked at together.

Known limits: gives up, and says yes, after ``MAX_STEPS`` choices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mkold.lkmm.graph.values import Value, evaluate, reads_of

Constraint = tuple[Value, int | None]
Domains = Mapping[int, Sequence[int]]
MAX_STEPS = 2_000


class Feasibility:
    """Answers for one graph; remembers which reads a value speaks of."""

    def __init__(self, domains: Domains) -> None:
        self.domains = domains
        self._reads: dict[int, tuple[Value, frozenset[int]]] = {}

    def goes(self, asked: Sequence[Constraint], new: Constraint) -> bool:
        """Whether ``new`` can hold where all of ``asked``, which can, do."""
        together, reads = self._connected(asked, new)
        if not reads:
            return _met(new, {})
        first = sorted(self.reads(new[0]))
        order = [*first, *sorted(reads - set(first))]
        return _Choice(together, order, self.domains, self.reads).found({}, 0)

    def reads(self, value: Value) -> frozenset[int]:
        """The reads that ``value`` speaks of."""
        known = self._reads.get(id(value))
        if known is None:
            known = value, frozenset(reads_of(value))
            self._reads[id(value)] = known
        return known[1]

    def _connected(
        self, asked: Sequence[Constraint], new: Constraint
    ) -> tuple[list[Constraint], set[int]]:
        together = [new]
        reads = set(self.reads(new[0]))
        rest = list(asked)
        while True:
            touching = [c for c in rest if not reads.isdisjoint(self.reads(c[0]))]
            if not touching:
                return together, reads
            rest = [c for c in rest if reads.isdisjoint(self.reads(c[0]))]
            together += touching
            for constraint in touching:
                reads |= self.reads(constraint[0])


class _Choice:
    """Chooses a word for each read in ``order``; a constraint is tested once it can be."""

    def __init__(
        self,
        constraints: list[Constraint],
        order: list[int],
        domains: Domains,
        reads: Callable[[Value], frozenset[int]],
    ) -> None:
        self.order, self.domains = order, domains
        self.steps = 0
        place = {read: i for i, read in enumerate(order)}
        self.due: list[list[Constraint]] = [[] for _ in order]
        for constraint in constraints:
            self.due[max(map(place.__getitem__, reads(constraint[0])))].append(constraint)

    def found(self, chosen: dict[int, int], index: int) -> bool:
        if index == len(self.order):
            return True
        read = self.order[index]
        for word in self.domains[read]:
            self.steps += 1
            if self.steps > MAX_STEPS:
                return True
            chosen[read] = word
            if all(_met(c, chosen) for c in self.due[index]) and self.found(chosen, index + 1):
                return True
        return False


def _met(constraint: Constraint, chosen: Mapping[int, int]) -> bool:
    value, wanted = constraint
    word = evaluate(value, chosen.__getitem__)
    return word != 0 if wanted is None else word == wanted
