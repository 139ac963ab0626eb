"""How many sections are open at a place in a thread, as literals, one for each number."""

from __future__ import annotations

from mkold.lkmm.sat.gates import Gates
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit


class Depth:
    """``levels[k]``: exactly k sections are open."""

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self.levels: list[Lit] = [TRUE]

    @property
    def some(self) -> Lit:
        """A section is open."""
        return -self.levels[0]

    def enter(self, here: Lit) -> None:
        """One more, where ``here`` holds."""
        self._move(here, [FALSE, *self.levels], [*self.levels, FALSE])

    def leave(self, here: Lit) -> None:
        """One less, where ``here`` holds; none stays none."""
        first, *rest = [*self.levels, FALSE]
        self._move(here, [self.gates.either(first, rest[0]), *rest[1:], FALSE], self.levels)

    def _move(self, here: Lit, moved: list[Lit], now: list[Lit]) -> None:
        choose = self.gates.choose
        self.levels = [choose(here, a, b) for a, b in zip(moved, now, strict=False)]
