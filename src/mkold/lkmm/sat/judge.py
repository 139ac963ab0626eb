"""The axioms of the Linux-kernel memory model over one execution; what fails is told as rules.

Coherence and atomicity are in the formula already, from which the execution came; they are
looked at only where the formula leaves coherence out.

Source: tools/memory-model/linux-kernel.cat.
"""

from __future__ import annotations

from itertools import combinations, pairwise

from mkold.lkmm.graph.values import Found, reads_of
from mkold.lkmm.sat.candidate import Candidate
from mkold.lkmm.sat.causality import Causality
from mkold.lkmm.sat.facts import Fact, Rules
from mkold.lkmm.sat.fences import Fences
from mkold.lkmm.sat.grace import Grace
from mkold.lkmm.sat.layout import Mask, bits
from mkold.lkmm.sat.relations import Base, Facts, Rel, Rows, closed, masked, tree
from mkold.lkmm.sat.visible import Pair, Visible
from mkold.lkmm.verdict import Axiom

MOST = 12  # reasons told of one axiom in one execution


class Judge:
    """Judges ``candidate``.

    ``broken`` is the first axiom that fails, with the relation and the bits of its cycle;
    for the axiom rcu see ``grace.closed``, for plain-coherence ``visible.against``.
    ``thin_air``: all axioms hold, and reads copy one another in a ring.
    """

    def __init__(self, fences: Fences, candidate: Candidate, rules: Rules) -> None:
        self.candidate, self.rules = candidate, rules
        self.causality = Causality(fences, candidate, rules)
        self.broken: tuple[Axiom, Rel, list[int]] | None = None
        self.grace: Grace | None = None
        self.visible: Visible | None = None
        self.thin_air = False

    def allowed(self) -> bool:
        """Whether the model allows the execution; if not, why is told."""
        causality = self.causality
        if self._cyclic(Axiom.PROPAGATION, causality.time):
            return False
        airy = self._from_thin_air()
        self.grace = Grace(causality)
        if not self.grace.allowed():
            return False
        self.visible = Visible(causality, self.grace)
        coherent = self.visible.coherent()
        self.thin_air = airy and coherent and self._copies_go_round()
        return coherent and not airy

    def races(self) -> tuple[list[Pair], list[tuple[Pair, set[Fact]]]]:
        """Of an allowed execution: see ``visible``."""
        assert self.visible is not None
        return self.visible.races()

    def coherent(self) -> bool:
        """Sequential consistency of each word, where the formula does not have it."""
        causality = self.causality
        layout, address = causality.layout, self.candidate.address
        index = layout.index
        why: dict[tuple[int, int], Facts] = {}
        for path in causality.paths.values():
            acts = [act for act in path.acts if act.id in index]
            for one, two in combinations(acts, 2):
                a, b = one.id, two.id
                if address[a] != address[b]:
                    continue
                if not one.group or one.group != two.group:
                    why[index[a], index[b]] = (Fact("same", a, b),)
                elif self.candidate.depends("forced", b, a):
                    why[index[a], index[b]] = (Fact("same", a, b), Fact("forced", a, b))
        po_loc = Base("po-loc", layout.n, why)
        parts = po_loc, causality.rf, causality.co, causality.fr
        return not self._cyclic(Axiom.COHERENCE, causality.union("coherence", *parts))

    def torn(self) -> tuple[int, int, int] | None:
        """A read-modify-write, and another write between its halves; see ``coherent``."""
        causality = self.causality
        ids = causality.layout.ids
        for read, write in causality.rmw.pairs():
            for between in bits(causality.fr.rows[read]):
                if causality.co.has(between, write):
                    return ids[read], ids[between], ids[write]
        return None

    def _from_thin_air(self) -> bool:
        """Whether a word justifies itself: rf, and what a write's value is computed from."""
        causality = self.causality
        layout = causality.layout
        used = [0] * layout.n
        for b in bits(causality.here & layout.writes):
            for read in reads_of(layout.nodes[layout.ids[b]].value):
                if read in layout.index:
                    used[layout.index[read]] |= 1 << b
        computed = masked(causality.base_data, used)
        return self._cyclic(None, causality.union("thin-air", causality.rf, computed))

    def _copies_go_round(self) -> bool:
        """Whether some read finds, copy by copy, what it finds."""
        nodes, source = self.causality.layout.nodes, self.candidate.source
        for start in source:
            read = start
            for _ in source:
                write = source.get(read, -1)
                value = nodes[write].value if write >= 0 else 0
                if not isinstance(value, Found):
                    break
                read = value.read
                if read == start:
                    return True
        return False

    def _cyclic(self, axiom: Axiom | None, rel: Rel) -> bool:
        """Whether ``rel`` has cycles; tells the shortest through some of their nodes."""
        ring = _on_cycles(rel.rows)
        if not ring:
            return False
        rows = [row & ring for row in rel.rows]
        found: dict[frozenset[int], list[int]] = {}
        for start in bits(ring):
            cycle = _cycle(rows, start)
            found.setdefault(frozenset(cycle), cycle)
        cycles = sorted(found.values(), key=len)
        for cycle in cycles[:MOST]:
            self._tell(rel, cycle)
        if axiom is not None:
            self.broken = axiom, rel, cycles[0]
        return True

    def _tell(self, rel: Rel, cycle: list[int]) -> None:
        """Not all the steps of a cycle: told as reachability from its first node."""
        causality, rules = self.causality, self.rules
        ids, reasons = causality.layout.ids, causality.reasons
        start = cycle[0]
        name = f"{rel.name}+"
        before: set[Fact] = set()
        for a, b in pairwise(cycle):
            reached = Fact(name, ids[start], ids[b])
            rules.tell(reached, before | reasons.of((rel, a, b)))
            before = {reached}
        rules.tell(None, before | reasons.of((rel, cycle[-1], start)))


def _on_cycles(rows: Rows) -> Mask:
    """The nodes that reach themselves."""
    return sum(1 << i for i, row in enumerate(closed(rows)) if row >> i & 1)


def _cycle(rows: Rows, start: int) -> list[int]:
    """A shortest cycle through ``start``, turned to begin at its lowest node."""
    before = tree(rows, start)
    nodes = [start]
    while before[nodes[-1]] != start:
        nodes.append(before[nodes[-1]])
    nodes = [start, *reversed(nodes[1:])]
    lowest = nodes.index(min(nodes))
    return nodes[lowest:] + nodes[:lowest]
