"""All executions of an event graph as clauses.

What happens and what is found is in ``sources``, coherence and atomicity in ``coherence``;
what an execution must be (whole, stopped ...) is said by literals that questions assume
(``modes``). The model's other axioms come as further clauses, told by the judge.
"""

from __future__ import annotations

from mkold.ir.program import Mem, Observed, Reg
from mkold.lkmm.sat.candidate import Candidate
from mkold.lkmm.sat.coherence import Coherence
from mkold.lkmm.sat.facts import Fact
from mkold.lkmm.sat.front import Unrolled
from mkold.lkmm.sat.places import Places
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit, Model, Solver
from mkold.lkmm.sat.sources import Sources
from mkold.lkmm.sat.words import Bits


class Formula(Sources):
    """The executions of ``made``, whole or not, each word's accesses in order."""

    def __init__(self, made: Unrolled, solver: Solver, *, coherent: bool = True) -> None:
        super().__init__(made, solver, coherent=coherent)
        self.coherence = Coherence(self)
        if coherent:
            Places(self.coherence)
        self._final: dict[Observed, Bits] = {}
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Make what the judge and pictures ask a model for: it knows no later variables."""
        for node in self.memory:
            self.circuit.value(node.value)
            for sort in (node.addr_deps, node.data_deps, node.ctrl_deps):
                for guard in sort.values():
                    self.circuit.guard(guard)
        for write in self.writes:
            for other in self.coherence.near[write.id]:
                self.coherence.before(write.id, other.id)

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
        self.equal([self.at[w.id][address] for w in here], bits, initial)
        for write in here:
            later = [
                self.words.both(self.at[other.id][address],
                                self.coherence.before(write.id, other.id))
                for other in here if other is not write
            ]  # fmt: skip
            head = [-self.at[write.id][address], *later]
            if TRUE not in head:
                self.equal(head, bits, self.circuit.value(write.value))
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
            case "forced":
                return self.expressions.forced(a, b)
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
