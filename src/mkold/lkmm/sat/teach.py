"""Rules told by the judge, as clauses of the formula; each for all threads of one shape.

A rule speaks of nodes by what never changes: their kinds, tags and order in their threads. So
it is as true of other threads of the same shape, whatever words they compute with.
"""

from __future__ import annotations

from itertools import combinations, permutations

from mkold.lkmm.sat.facts import GIVEN, Fact, Rule, Rules, renamed
from mkold.lkmm.sat.formula import Formula
from mkold.lkmm.sat.grace import open_end
from mkold.lkmm.sat.layout import Layout
from mkold.lkmm.sat.modes import Modes
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit

MOST_ALIKE = 4  # threads of one shape, of which every exchange is made
MOST_WAYS = 120

Names = dict[int, int]


class Teacher:
    """Turns the fresh rules of ``rules`` into clauses of ``formula``."""

    def __init__(self, formula: Formula, modes: Modes, layout: Layout, rules: Rules) -> None:
        self.formula, self.modes, self.rules = formula, modes, rules
        self.ways = _ways(layout)
        self._derived: dict[Fact, Lit] = {}
        self._taught: set[Rule] = set()

    def teach(self) -> int:
        """Tell the solver what is new; how many clauses that was."""
        n = 0
        for rule in self.rules.take():
            for names in self.ways:
                n += self._clause(renamed(rule, names) if names else rule)
        return n

    def _clause(self, rule: Rule) -> bool:
        if rule in self._taught:
            return False
        self._taught.add(rule)
        head, body = rule
        lits = [-self.literal(fact) for fact in body]
        if TRUE in lits:
            return False
        if head is not None:
            lits.append(self.literal(head))
        self.formula.solver.add([lit for lit in lits if lit != FALSE])
        return True

    def literal(self, fact: Fact) -> Lit:
        """Of a given fact what the formula says; of a derived one its own variable."""
        if fact.kind == "stands":
            return self.modes.stands(self.formula.graph.nodes[fact.a].thread)
        if fact.kind in GIVEN:
            return self.formula.literal(fact)
        lit = self._derived.get(fact)
        if lit is None:
            lit = self._derived[fact] = self.formula.solver.new()
        return lit


def _ways(layout: Layout) -> list[Names]:
    """Renamings that exchange threads of one shape; the first changes nothing."""
    shapes: dict[object, list[int]] = {}
    for thread, nodes in layout.threads.items():
        first = nodes[0].id
        shape = tuple(
            (
                n.kind,
                n.order,
                n.conditional,
                n.rmw - first if n.rmw >= 0 else None,
                n.id - first,
            )
            for n in nodes
        )
        shapes.setdefault(shape, []).append(thread)
    ways: list[Names] = [{}]
    for threads in shapes.values():
        for order in _exchanges(threads):
            names: Names = {}
            for old, new in zip(threads, order, strict=True):
                for a, b in zip(layout.threads[old], layout.threads[new], strict=True):
                    names[a.id] = b.id
                    names[open_end(a.id)] = open_end(b.id)
            ways += [{**way, **names} for way in ways]
            if len(ways) > MOST_WAYS:
                return ways[:MOST_WAYS]
    return ways


def _exchanges(threads: list[int]) -> list[list[int]]:
    """Orders of ``threads`` other than their own: all, or where many each swap of two."""
    if len(threads) <= MOST_ALIKE:
        return [list(order) for order in permutations(threads)][1:]
    found = []
    for i, j in combinations(range(len(threads)), 2):
        order = list(threads)
        order[i], order[j] = order[j], order[i]
        found.append(order)
    return found
