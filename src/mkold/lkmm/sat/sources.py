"""What happens, where, and what reads find: one execution of an event graph as clauses.

One literal a guard and a decision; bits of what reads find; literals of places and sources.
"""

from __future__ import annotations

from collections.abc import Iterable

from mkold.lkmm.graph.events import Node
from mkold.lkmm.known.words import initial_word
from mkold.lkmm.sat.circuit import Circuit, fresh_word, membership
from mkold.lkmm.sat.expressions import Expressions
from mkold.lkmm.sat.facts import INIT
from mkold.lkmm.sat.front import Unrolled
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit, Solver
from mkold.lkmm.sat.words import Bits, Words

Place = int


class Sources:
    """Of the executions of ``made``.

    ``x[n]``: node n happens. ``at[n]``: for each word, node n happens there. ``wild[n]``: it
    goes to none of its places. ``source[r][w]``: read r finds write w (``INIT``: the initial
    word). ``coherent``: with what coherence and atomicity ask, but for a picture of it.
    """

    def __init__(self, made: Unrolled, solver: Solver, *, coherent: bool = True) -> None:
        self.made, self.graph, self.solver = made, made.graph, solver
        self.coherent = coherent
        self.words = Words(solver)
        self._reads: dict[int, Bits] = {}
        self.circuit = Circuit(self.words, self.graph.decisions, self._read)
        self.expressions = Expressions(self.graph, self.circuit)
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
            self._place(node, self._foreseen(node))
        self._place_srcu()
        self._same: dict[tuple[int, int], Lit] = {}
        self.source: dict[int, dict[int, Lit]] = {}
        for read in self.reads:
            self._find(read)

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

    def precedes(self, a: Node, b: Node) -> Lit:
        """In program order."""
        return self.expressions.precedes(a, b) if a.thread == b.thread else FALSE

    # -- places -------------------------------------------------------------------

    def _foreseen(self, node: Node) -> list[Place]:
        """Where the node may go; what hands over a callback has a word of its own."""
        places = self.made.places.get(node.id)
        if places is None:
            return [node.addr] if isinstance(node.addr, int) else []
        return places

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
        if node.id in self.made.tame:
            self.add([-x, *found.values()])
            return
        wild = all_of(x, -self.words.any(found.values()))
        if wild != FALSE:
            self.wild[node.id] = wild

    def _place_srcu(self) -> None:
        """Grace periods of SRCU: at any srcu_struct that is read-locked."""
        places = {p for n in self.memory if n.order == "srcu-lock" for p in self.at[n.id]}
        for node in self.graph.nodes:
            if node.kind == "SRCU":
                here = [node.addr] if isinstance(node.addr, int) else sorted(places)
                self._place(node, here)
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
                self.equal([-lit, -mine], bits, self.words.constant(initial[place]))
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
        if write.id == read.rmw or (self.coherent and self.precedes(read, write) == TRUE):
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
        self.equal([-lit], bits, self.circuit.value(write.value))
        return lit

    def equal(self, head: list[Lit], a: Bits, b: Bits) -> None:
        """One of ``head`` holds, or the two words are equal."""
        for x, y in zip(a, b, strict=True):
            if x != y:
                self.add([*head, -x, y])
                self.add([*head, x, -y])

    def initial(self, place: Place) -> int:
        """The word at ``place`` before anything ran."""
        return initial_word(self.graph, place)
