"""Data races, and what SRCU's cookies do: found where an order or a match is not there.

What is not there has no rule. So one solve asks for an execution with one of the pairs in
question; if the judge finds that this execution orders all of its pairs, the facts by which it
does are told as a derived fact, ``ordered``, and the next solve has to find another.
"""

from __future__ import annotations

from collections.abc import Iterable

from mkold.lkmm.sat.facts import Fact
from mkold.lkmm.sat.flags import racing_pairs
from mkold.lkmm.sat.search import Allowed, Search
from mkold.lkmm.sat.solver import Lit


class Races:
    """Data races of ``search``'s program."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self._query: Lit | None = None
        self._chosen = self._choices()

    def _choices(self) -> list[Lit]:
        search, chosen = self.search, []
        for a, b in racing_pairs(search.formula):
            lit = search.solver.new()
            search.formula.add([-lit, search.formula.same(a, b)])
            search.formula.add([-lit, -search.teacher.literal(Fact("ordered", a, b))])
            chosen.append(lit)
        return chosen

    def find(self, assumptions: Iterable[Lit]) -> tuple[Allowed, tuple[int, int]] | None:
        """An execution with a race, and the two nodes."""
        if not self._chosen:
            return None
        search, assumed = self.search, tuple(assumptions)
        if self._query is None:
            self._query = search.query(self._chosen)
        while True:
            found = search.allowed(self._query, *assumed)
            if found is None:
                return None
            racing, fine = found.judge.races()
            if racing:
                return found, racing[0]
            for (a, b), facts in fine:
                search.rules.tell(Fact("ordered", a, b), facts)
            if not search.teacher.teach():
                raise AssertionError("a pair is ordered for a reason already told")
