"""Which choices of paths can go together at all, before any execution is listed.

A path that turns on what a read finds *needs* some word to be there. Where neither the
initial word nor the path itself can supply it, another unit's path must: each path's needs
and gifts are masks over the distinct needs of the program, and a choice of paths in which
a need is not met is never looked at.

This only leaves out choices without executions: what is computed counts as any word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mkold.lkmm.graph.values import Constraint, found
from mkold.lkmm.paths.facts import Facts
from mkold.lkmm.paths.paths import Act, Path

Choice = tuple[Path, list[Constraint]]


class Supply:
    """Needs and gifts of every path of every unit; ``check`` raises when time is up."""

    def __init__(
        self,
        units: Sequence[Sequence[Choice]],
        initial: Callable[[int], int],
        check: Callable[[], None],
    ) -> None:
        self._check = check
        self.units = units
        self._initial = initial
        self._words = self._stored()
        self._numbers: dict[tuple[int, frozenset[int]], int] = {}
        self._needs: list[list[int]] = [[self._need(c) for c in unit] for unit in units]
        wanted = list(self._numbers)
        self._gives = [[self._give(c[0], wanted) for c in unit] for unit in units]

    def _stored(self) -> dict[int, set[int] | None]:
        """Known words stored at each address by any path; None: any word."""
        words: dict[int, set[int] | None] = {}
        for unit in self.units:
            for path, _ in unit:
                for act in path.acts:
                    if act.is_write:
                        known = words.setdefault(act.address, set())
                        if not isinstance(act.value, int):
                            words[act.address] = None
                        elif known is not None:
                            known.add(act.value)
        return words

    def _need(self, choice: Choice) -> int:
        path, extra = choice
        musts: list[Constraint] = [
            Constraint(found(a.id), a.node.must) for a in path.acts if a.node.must is not None
        ]
        facts = Facts([*path.constraints, *extra, *musts], {})
        mask = 0
        for act in path.acts:
            if act.is_read and act.id in facts.restricted:
                mask |= self._need_of(act, path, facts)
        return mask

    def _need_of(self, read: Act, path: Path, facts: Facts) -> int:
        """The bit of what ``read`` needs from others, 0 if it needs nothing."""
        words = self._words.get(read.address, set())
        if words is None or facts.allow(read.id, self._initial(read.address)):
            return 0
        good = frozenset(word for word in words if facts.allow(read.id, word))
        for act in path.acts:
            if act.is_write and act.address == read.address and act.value in good:
                return 0
        number = self._numbers.setdefault((read.address, good), len(self._numbers))
        return 1 << number

    def _give(self, path: Path, wanted: Sequence[tuple[int, frozenset[int]]]) -> int:
        stored = {(act.address, act.value) for act in path.acts if act.is_write}
        mask = 0
        for number, (address, words) in enumerate(wanted):
            if any((address, word) in stored for word in words):
                mask |= 1 << number
        return mask

    def choices(self) -> Iterator[tuple[Choice, ...]]:
        """Every choice of one path a unit in which each need is met."""
        n = len(self.units)
        rest = [0] * (n + 1)  # what the units from here on can give at best
        for unit in range(n - 1, -1, -1):
            rest[unit] = rest[unit + 1]
            for gift in self._gives[unit]:
                rest[unit] |= gift

        def extend(
            unit: int, need: int, given: int, chosen: tuple[Choice, ...]
        ) -> Iterator[tuple[Choice, ...]]:
            if need & ~(given | rest[unit]):
                return
            if unit == n:
                yield chosen
                return
            self._check()
            for number, choice in enumerate(self.units[unit]):
                yield from extend(
                    unit + 1,
                    need | self._needs[unit][number],
                    given | self._gives[unit][number],
                    (*chosen, choice),
                )

        return extend(0, 0, 0, ())
