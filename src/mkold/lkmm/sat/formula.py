"""All executions of an event graph as clauses: what happens, where, and what reads find.

One literal a guard and a decision; bits of what reads find; ``source`` literals. Coherence
and atomicity are in ``coherence``; what an execution must be (whole, stopped ...) is said by
literals that questions assume (``modes``). The model's other axioms come as further
clauses, told by the judge.
"""

from __future__ import annotations

from collections.abc import Iterable

from mkold.ir.program import Mem, Observed, Reg
from mkold.lkmm.graph.events import Node
from mkold.lkmm.known.words import initial_word
from mkold.lkmm.sat.candidate import Candidate
from mkold.lkmm.sat.circuit import Circuit, fresh_word, membership
from mkold.lkmm.sat.coherence import Coherence
from mkold.lkmm.sat.facts import INIT, Fact
from mkold.lkmm.sat.front import Unrolled
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit, Model, Solver
from mkold.lkmm.sat.words import Bits, Words

Place = int


class Formula:
    """The executions of ``made``, whole or not.

    ``x[n]``: node n happens. ``at[n]``: for each word, node n happens there. ``wild[n]``: it
    goes to none of its places. ``source[r][w]``: read r finds write w (``INIT``: the initial
    word).
    """

    def __init__(self, made: Unrolled, solver: Solver) -> None:
        self.made, self.graph, self.solver = made, made.graph, solver
        self.words = Words(solver)
        self._reads: dict[int, Bits] = {}
        self.circuit = Circuit(self.words, self.graph.decisions, self._read)
        nodes = self.graph.nodes
        self.x = [self.circuit.guard(node.guard) for node in nodes]
        for guard, _ in self.graph.waits:
            self.add([-self.circuit.guard(guard)])
        self.memory = [n for n in nodes if n.is_read or n.is_write]
        self.writes = [n for n in self.memory if n.is_write and self.x[n.id] != FALSE]
        self.reads = [n for n in self.memory if n.is_read and self.x[n.id] != FALSE]
        self.at: dict[int, dict[Place, Lit]] = {}
        self.wild: dict[int, Lit] = {}
        for node in self.memory:
            self._place(node, made.places.get(node.id, []))
        self._place_srcu()
        self._same: dict[tuple[int, int], Lit] = {}
        self.source: dict[int, dict[int, Lit]] = {}
        for read in self.reads:
            self._find(read)
        self.coherence = Coherence(self)
        self._final: dict[Observed, Bits] = {}

    def add(self, clause: Iterable[Lit]) -> None:
        """At least one of ``clause`` holds."""
        kept = [lit for lit in clause if lit != FALSE]
        if TRUE not in kept:
            self.solver.add(kept)

    def _read(self, read: int) -> Bits:
        bits = self._reads.get(read)
        if bits is None:
            domain = self.made.domains[read]
            bits = self._reads[read] = fresh_word(self.words, domain)
            clause = membership(self.words, bits, domain)
            if clause is not None:
                self.add(clause)
        return bits

    # -- places -------------------------------------------------------------------

    def _place(self, node: Node, places: list[Place]) -> None:
        x, all_of = self.x[node.id], self.words.both
        if isinstance(node.addr, int):
            self.at[node.id] = dict.fromkeys(places, x)
            if not places and x != FALSE:
                self.wild[node.id] = x
            return
        bits = self.circuit.value(node.addr)
        found = {place: all_of(x, self.words.is_word(bits, place)) for place in places}
        self.at[node.id] = {place: lit for place, lit in found.items() if lit != FALSE}
        wild = all_of(x, -self.words.any(found.values()))
        if wild != FALSE:
            self.wild[node.id] = wild

    def _place_srcu(self) -> None:
        """Grace periods of SRCU: at any srcu_struct that is read-locked."""
        places = {p for n in self.memory if n.order == "srcu-lock" for p in self.at[n.id]}
        for node in self.graph.nodes:
            if node.kind == "SRCU":
                if isinstance(node.addr, int):
                    places.add(node.addr)
                self._place(node, sorted(places))
                self.wild.pop(node.id, None)  # one that nobody holds orders as a fence does

    def same(self, a: int, b: int) -> Lit:
        """Both happen, at one word."""
        key = (a, b) if a < b else (b, a)
        lit = self._same.get(key)
        if lit is None:
            here, there = self.at[a], self.at[b]
            lit = self._same[key] = self.words.any(
                [self.words.both(mine, there[p]) for p, mine in here.items() if p in there]
            )
        return lit

    # -- sources ------------------------------------------------------------------

    def _find(self, read: Node) -> None:
        here = self.at[read.id]
        bits = self.circuit.value(read.value)
        found: dict[int, Lit] = {}
        initial = {place: self.initial(place) for place in here}
        if any(self._may_be(bits, self.words.constant(word)) for word in initial.values()):
            lit = found[INIT] = self.solver.new()
            for place, mine in here.items():
                self._equal([-lit, -mine], bits, self.words.constant(initial[place]))
        for write in self.writes:
            if self._may_find(read, write, bits):
                found[write.id] = self._from(read, write, bits)
        x = self.x[read.id]
        wild = self.wild.get(read.id, FALSE)
        self.add([-x, *found.values(), wild])
        for lit in found.values():
            self.add([-lit, x])
            self.add([-lit, -wild])
        self.source[read.id] = found

    def _may_find(self, read: Node, write: Node, bits: Bits) -> bool:
        if write.id == read.rmw or (write.thread == read.thread and write.po > read.po):
            return False
        if not self.at[read.id].keys() & self.at[write.id].keys():
            return False
        return self._may_be(bits, self.circuit.value(write.value))

    @staticmethod
    def _may_be(a: Bits, b: Bits) -> bool:
        return not any(x == -y for x, y in zip(a, b, strict=True))

    def _from(self, read: Node, write: Node, bits: Bits) -> Lit:
        lit = self.solver.new()
        self.add([-lit, self.x[write.id]])
        there = self.at[write.id]
        for place, mine in self.at[read.id].items():
            self.add([-lit, -mine, there.get(place, FALSE)])
        self._equal([-lit], bits, self.circuit.value(write.value))
        return lit

    def _equal(self, head: list[Lit], a: Bits, b: Bits) -> None:
        for x, y in zip(a, b, strict=True):
            if x != y:
                self.add([*head, -x, y])
                self.add([*head, x, -y])

    def initial(self, place: Place) -> int:
        """The word at ``place`` before anything ran."""
        return initial_word(self.graph, place)

    # -- what is seen -------------------------------------------------------------

    def observe(self, place: Observed) -> Bits:
        """The last value of a local or a word."""
        bits = self._final.get(place)
        if bits is None:
            if isinstance(place, Reg):
                value = self.graph.finals[place.thread].get(place.local, 0)
                bits = self.circuit.value(value)
            else:
                bits = self._last(place)
            self._final[place] = bits
        return bits

    def _last(self, place: Mem) -> Bits:
        address = place.address
        here = [w for w in self.writes if address in self.at[w.id]]
        initial = self.words.constant(self.initial(address))
        if not here:
            return initial
        bits = self.words.fresh()
        self._equal([self.at[w.id][address] for w in here], bits, initial)
        for write in here:
            later = [
                self.words.both(self.at[other.id][address],
                                self.coherence.before(write.id, other.id))
                for other in here if other is not write
            ]  # fmt: skip
            head = [-self.at[write.id][address], *later]
            if TRUE not in head:
                self._equal(head, bits, self.circuit.value(write.value))
        return bits

    # -- facts --------------------------------------------------------------------

    def literal(self, fact: Fact) -> Lit:
        """What the judge speaks of (see ``facts``), of an execution."""
        kind, a, b = fact
        match kind:
            case "happens":
                return self.x[a]
            case "absent":
                return -self.x[a]
            case "source":
                return self.source[b].get(a, FALSE)
            case "same":
                return self.same(a, b)
            case "co":
                return self.coherence.co(a, b)
            case "fr":
                return self.coherence.fr(a, b)
            case _:
                deps = getattr(self.graph.nodes[b], f"{kind}_deps")
                return self.circuit.guard(deps.get(a, 0))

    def candidate(self, model: Model, stands: frozenset[int]) -> Candidate:
        """The execution that ``model`` is."""
        holds = model.holds
        happens = frozenset(n for n, lit in enumerate(self.x) if lit == TRUE or holds(lit))
        address: dict[int, int] = {}
        for node in happens & self.at.keys():
            for place, lit in self.at[node].items():
                if holds(lit):
                    address[node] = place
        source = {
            read: write
            for read, found in self.source.items() if read in address
            for write, lit in found.items() if holds(lit)
        }  # fmt: skip
        order: dict[int, list[int]] = {}
        for write in self.writes:
            if write.id in address:
                order.setdefault(address[write.id], []).append(write.id)
        before = self.coherence.before
        for writes in order.values():
            late = {a: sum(holds(before(b, a)) for b in writes if b != a) for a in writes}
            writes.sort(key=late.__getitem__)

        def depends(sort: str, node: int, read: int) -> bool:
            return holds(self.literal(Fact(sort, read, node)))

        return Candidate(happens, address, source, order, depends, stands)
