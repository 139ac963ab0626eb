"""How many writes of a word precede what an access finds or overwrites: implied by coherence.

That a loop fails so often only as others write between is a proof of the pigeon-hole kind,
which a solver finds by trying all ways. Counting makes it short: each write has a place in its
word's coherence order, each read the place of what it finds; a place is a number in unary,
below the number of writes that there can be. Writes that exclude one another count as one.

Nothing is asked for that the clauses of ``coherence`` do not ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mkold.lkmm.graph.events import Node
from mkold.lkmm.graph.guards import Guard, conjuncts, negate
from mkold.lkmm.sat.coherence import Coherence
from mkold.lkmm.sat.facts import INIT
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit

FEWEST, MOST = 3, 24  # writes of a word for which it pays


class Places:
    """Of the words of ``coherence`` whose accesses are at known addresses."""

    def __init__(self, coherence: Coherence) -> None:
        self.coherence, self.sources = coherence, coherence.sources
        for address in sorted({p for w in self.sources.writes for p in self.sources.at[w.id]}):
            writes = [w for w in self.sources.writes if address in self.sources.at[w.id]]
            most = at_most(writes)
            if FEWEST <= most <= MOST:
                _Word(coherence, address, most)


class _Word:
    """``count(n, i)``: at least i writes precede write n, or were made up to what n finds."""

    def __init__(self, coherence: Coherence, address: int, most: int) -> None:
        self.coherence, self.sources, self.most = coherence, coherence.sources, most
        at = self.sources.at
        self.writes = [w for w in self.sources.writes if list(at[w.id]) == [address]]
        self.reads = [r for r in self.sources.reads if list(at[r.id]) == [address]]
        self._counts: dict[int, list[Lit]] = {}
        for write in self.writes:
            for other in self.writes:
                if other is not write:
                    self._more(write, other, [coherence.co(write.id, other.id)])
        for read in self.reads:
            self._read(read)
        by_thread: dict[int, list[Node]] = {}
        for read in self.reads:
            by_thread.setdefault(read.thread, []).append(read)
        for reads in by_thread.values():
            for one, two in pairwise(sorted(reads, key=lambda n: n.po)):
                if not one.group or one.group != two.group:
                    self._two_reads(one, two)

    def count(self, node: Node, i: int) -> Lit:
        """See above."""
        most = self.most - node.is_write
        if i <= 0 or i > most:
            return TRUE if i <= 0 else FALSE
        lits = self._counts.get(node.id)
        if lits is None:
            solver = self.sources.solver
            lits = self._counts[node.id] = [solver.new() for _ in range(most)]
            for less, more in pairwise(lits):
                solver.add([-more, less])
        return lits[i - 1]

    def _more(self, one: Node, two: Node, where: Sequence[Lit], by: int = 1) -> None:
        """Where all hold, at least so many more precede ``two`` than ``one``."""
        if FALSE in where:
            return
        for i in range(self.most + 1):
            self.sources.add([*(-lit for lit in where), -self.count(one, i),
                              self.count(two, i + by)])  # fmt: skip

    def _read(self, read: Node) -> None:
        writes = {w.id: w for w in self.writes}
        for source, lit in self.sources.source[read.id].items():
            if source != INIT and source in writes:
                self._more(writes[source], read, [lit])
        for write in self.writes:
            self._more(read, write, [self.coherence.fr(read.id, write.id)], by=0)

    def _two_reads(self, one: Node, two: Node) -> None:
        """A later read finds a later write, or else the same word."""
        sources = self.sources
        happen = sources.words.both(sources.x[one.id], sources.x[two.id])
        if happen == FALSE:
            return
        later = sources.solver.new()
        for source, lit in sources.source[two.id].items():
            if source != INIT:
                sources.add([-lit, -self.coherence.fr(one.id, source), later])
        self._more(one, two, [happen], by=0)
        self._more(one, two, [happen, later])
        a, b = sources.circuit.value(one.value), sources.circuit.value(two.value)
        sources.equal([later, -happen], a, b)


def at_most(writes: Sequence[Node]) -> int:
    """So many of ``writes`` happen in one execution, or fewer."""
    classes: dict[int, list[list[frozenset[Guard]]]] = {}
    for write in writes:
        parts = frozenset(conjuncts(write.guard))
        mine = classes.setdefault(write.thread, [])
        for members in mine:
            if all(_exclude(parts, other) for other in members):
                members.append(parts)
                break
        else:
            mine.append([parts])
    return sum(map(len, classes.values()))


def _exclude(a: frozenset[Guard], b: frozenset[Guard]) -> bool:
    return any(negate(part) in b for part in a)
