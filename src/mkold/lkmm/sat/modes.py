"""What an execution has to be, as literals that a question assumes.

``whole``: every thread comes to its end. ``unkept``: no waiting round is kept; ``few``: none
but what one flag needs (see ``waiting``). ``tame``: no access goes to a word that was not
foreseen.
"""

from __future__ import annotations

from itertools import combinations

from mkold.lkmm.sat.formula import Formula
from mkold.lkmm.sat.solver import Lit
from mkold.lkmm.sat.waiting import Cut, Keep, Stand


class Modes:
    """The modes of ``formula``; each literal, where it is assumed, makes its clauses hold."""

    def __init__(self, formula: Formula) -> None:
        self.formula = formula
        made, guard, new = formula.made, formula.circuit.guard, formula.solver.new
        self.stand_lits = [(stand, guard(stand.guard)) for stand in made.stands]
        self.cut_lits = [(cut, guard(cut.guard)) for cut in made.cuts]
        self.whole, self.unkept, self.few, self.tame = (new() for _ in range(4))
        for _, lit in self.stand_lits:
            formula.add([-self.whole, -lit])
        for _, lit in self.cut_lits:
            formula.add([-self.whole, -lit])
        for lit in formula.wild.values():
            formula.add([-self.tame, -lit])
        self._keeps()
        self._stands: dict[int, Lit] = {}

    def _keeps(self) -> None:
        formula = self.formula
        keeps = [(keep, formula.circuit.guard(keep.guard)) for keep in formula.made.keeps]
        for _, lit in keeps:
            formula.add([-self.unkept, -lit])
        for (one, a), (two, b) in combinations(keeps, 2):
            if not (one.within(two) or two.within(one) or self._may_race(one, two)):
                formula.add([-self.few, -a, -b])

    def _may_race(self, one: Keep, two: Keep) -> bool:
        """Whether one round may write what the other accesses plainly."""
        nodes, at = self.formula.graph.nodes, self.formula.at
        if one.unit == two.unit:
            return False
        return any(
            "plain" in (nodes[a].order, nodes[b].order)
            and (nodes[a].is_write or nodes[b].is_write)
            and at[a].keys() & at[b].keys()
            for a in one.nodes if a in at for b in two.nodes if b in at
        )  # fmt: skip

    def stands(self, thread: int) -> Lit:
        """The thread stopped on the way."""
        lit = self._stands.get(thread)
        if lit is None:
            lits = [lit for stop, lit in self.stops() if stop.thread == thread]
            lit = self._stands[thread] = self.formula.words.any(lits)
        return lit

    def stops(self) -> list[tuple[Stand | Cut, Lit]]:
        """Where threads may stop."""
        return [*self.stand_lits, *self.cut_lits]
