"""Rules told by the judge, as clauses of the formula; each for all threads of one shape."""

from __future__ import annotations

from mkold.lkmm.sat.facts import GIVEN, Body, Fact, Rules
from mkold.lkmm.sat.formula import Formula
from mkold.lkmm.sat.layout import Layout
from mkold.lkmm.sat.modes import Modes
from mkold.lkmm.sat.shapes import Names, Shapes
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit

Clause = tuple[Lit, ...]


class Teacher:
    """Turns the fresh rules of ``rules`` into clauses of ``formula``."""

    def __init__(self, formula: Formula, modes: Modes, layout: Layout, rules: Rules) -> None:
        self.formula, self.modes, self.rules = formula, modes, rules
        self.shapes = Shapes(layout)
        self._lits: dict[Fact, Lit] = {}
        self._taught: set[Clause] = set()

    def teach(self) -> int:
        """Tell the solver what is new; how many clauses that was."""
        n = 0
        for head, body in self.rules.take():
            named = {node for _, a, b in body for node in (a, b)}
            if head is not None:
                named |= {head.a, head.b}
            for names in self.shapes.renamings(named):
                n += self._clause(head, body, names)
        return n

    def _clause(self, head: Fact | None, body: Body, names: Names) -> bool:
        lits = []
        for fact in body:
            lit = self._renamed(fact, names)
            if lit == FALSE:
                return False
            if lit != TRUE:
                lits.append(-lit)
        if head is not None:
            lits.append(self._renamed(head, names))
        clause = tuple(sorted(lits))
        if clause in self._taught:
            return False
        self._taught.add(clause)
        self.formula.solver.add(lits)
        return True

    def _renamed(self, fact: Fact, names: Names) -> Lit:
        if names:
            kind, a, b = fact
            fact = Fact(kind, names.get(a, a), names.get(b, b))
        lit = self._lits.get(fact)
        if lit is None:
            lit = self._lits[fact] = self._literal(fact)
        return lit

    def literal(self, fact: Fact) -> Lit:
        """Of a given fact what the formula says; of a derived one its own variable."""
        return self._renamed(fact, {})

    def _literal(self, fact: Fact) -> Lit:
        if fact.kind == "stands":
            return self.modes.stands(self.formula.graph.nodes[fact.a].thread)
        if fact.kind in GIVEN:
            return self.formula.literal(fact)
        return self.formula.solver.new()
