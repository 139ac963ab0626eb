"""Coherence and atomicity as clauses: ``before``, the order of writes, and ``fr``.

``before(a, b)`` orders any two writes that may share a word, also where they do not: an order
of some can be made one of all. ``fr(r, w)``: read r finds something that write w overwrites.
With these, each axiom is a clause of few literals:

* a read is ``fr`` before its thread's later writes of the word, and not before its earlier;
* what the later of two reads of one word is before, the earlier is before too;
* of a read-modify-write, what its read is before, its write is before too.

Known limits: transitivity takes n^3 clauses for n writes of one word. From ``MOST`` on it is
left to the judge (``lazy``).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

from mkold.lkmm.graph.events import Node
from mkold.lkmm.sat.expressions import groups
from mkold.lkmm.sat.facts import INIT
from mkold.lkmm.sat.solver import FALSE, Lit
from mkold.lkmm.sat.sources import Sources

MOST = 400_000  # clauses of transitivity


class Coherence:
    """Of all words of ``sources``."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._before: dict[tuple[int, int], Lit] = {}
        self._co: dict[tuple[int, int], Lit] = {}
        self._fr: dict[tuple[int, int], Lit] = {}
        self.near = {a.id: self._near(a) for a in (*sources.writes, *sources.reads)}
        self.lazy = sum(len(self.near[w.id]) ** 2 for w in sources.writes) > 3 * MOST
        if not self.lazy:
            self._transitive()
        for read in sources.reads:
            for write in self.near[read.id]:
                self._from_read(read, write)
        if sources.coherent:
            self._operands_in_some_order()
            self._reads_in_order()
            self._atomic()

    def _near(self, access: Node) -> list[Node]:
        """Other writes that may be of a word of ``access``."""
        self.sources.solver.look()
        at = self.sources.at
        words = at[access.id].keys()
        return [b for b in self.sources.writes if b is not access and words & at[b.id].keys()]

    # -- literals -----------------------------------------------------------------

    def before(self, a: int, b: int) -> Lit:
        """Write a precedes write b, if both write one word."""
        if a > b:
            return -self.before(b, a)
        lit = self._before.get((a, b))
        if lit is None:
            one, two = self.sources.graph.nodes[a], self.sources.graph.nodes[b]
            if one.thread == two.thread and self.sources.coherent:
                lit = self.sources.precedes(one, two)
            else:
                lit = self.sources.solver.new()
            self._before[a, b] = lit
        return lit

    def co(self, a: int, b: int) -> Lit:
        """Both happen, at one word, a before b."""
        lit = self._co.get((a, b))
        if lit is None:
            sources = self.sources
            lit = sources.words.both(sources.same(a, b), self.before(a, b))
            self._co[a, b] = lit
        return lit

    def fr(self, read: int, write: int) -> Lit:
        """The read finds what the write overwrites, now or later."""
        return self._fr.get((read, write), FALSE)

    # -- axioms -------------------------------------------------------------------

    def _transitive(self) -> None:
        sources = self.sources
        for a, b, c in self._triples():
            given: list[Lit] = []
            if len({p for n in (a, b, c) for p in sources.at[n]}) > 1:
                given = [-sources.same(a, b), -sources.same(b, c)]
                if FALSE in (sources.same(a, b), sources.same(b, c), sources.same(a, c)):
                    continue
            ab, bc, ca = self.before(a, b), self.before(b, c), self.before(c, a)
            sources.add([*given, -ab, -bc, -ca])
            sources.add([*given, ab, bc, ca])

    def _triples(self) -> Iterator[tuple[int, int, int]]:
        """Writes of which any two may share a word, each three once."""
        near = {w.id: {o.id for o in self.near[w.id] if o.id > w.id}
                for w in self.sources.writes}  # fmt: skip
        for a, later in near.items():
            for b, c in combinations(sorted(later), 2):
                if c in near[b]:
                    yield a, b, c

    def _from_read(self, read: Node, write: Node) -> None:
        """``fr(read, write)``, and what the read's sources say of it."""
        sources, add = self.sources, self.sources.add
        same = sources.same(read.id, write.id)
        if same == FALSE:
            return
        if read.thread == write.thread and sources.coherent:
            fr = sources.words.both(same, sources.precedes(read, write))
        else:
            fr = sources.solver.new()
            add([-fr, same])
        self._fr[read.id, write.id] = fr
        for source, lit in sources.source[read.id].items():
            if source == INIT:
                add([-lit, -same, fr])
            elif source == write.id:
                add([-lit, -fr])
            else:
                before = self.before(source, write.id)
                add([-lit, -same, -before, fr])
                add([-lit, before, -fr])

    def _operands_in_some_order(self) -> None:
        """The accesses of one word by an expression come one after the other."""
        sources = self.sources
        precedes, same = sources.precedes, sources.same
        for nodes in groups(sources.memory):
            for a, b, c in permutations(nodes, 3):
                if a is min(a, b, c, key=lambda n: n.po):
                    here = [-same(a.id, b.id), -same(b.id, c.id)]
                    sources.add([*here, -precedes(a, b), -precedes(b, c), -precedes(c, a)])

    def _reads_in_order(self) -> None:
        sources = self.sources
        by_thread: dict[int, list[Node]] = {}
        for read in sources.reads:
            by_thread.setdefault(read.thread, []).append(read)
        for reads in by_thread.values():
            for one, two in combinations(sorted(reads, key=lambda n: n.po), 2):
                same = sources.same(one.id, two.id)
                if same != FALSE:
                    first_to_last = sources.precedes(one, two)
                    for write in self.near[two.id]:
                        first, second = self.fr(one.id, write.id), self.fr(two.id, write.id)
                        sources.add([-same, -first_to_last, -second, first])
                        sources.add([-same, first_to_last, -first, second])

    def _atomic(self) -> None:
        sources = self.sources
        for read in sources.reads:
            if read.rmw >= 0 and read.rmw in self.near:
                happens = sources.x[read.rmw]
                for write in self.near[read.id]:
                    if write.id != read.rmw:
                        fr, before = self.fr(read.id, write.id), self.before(read.rmw, write.id)
                        sources.add([-fr, -happens, before])
