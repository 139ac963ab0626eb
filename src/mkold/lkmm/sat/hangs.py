"""Threads that wait for ever: an execution that has come to rest with some of them not done.

The property is that of Dartagnan and GenMC. Every thread has ended or stands: in a waiting
round of a loop (or in several, after which it is where it was), at a lock, or in a grace
period; at least one stands. Whoever stands in a loop
or at a lock has looked again since all others came to rest: every read of the round finds its
word's last write in coherence order. Writes of rounds in which threads stand put back what was
there, so they don't count as later ones. A grace period lasts as long as a section that some
thread stands in.

So the threads go on for ever, each round as the one before; on any fair machine, where a write
is seen at last, nothing else happens.

Known limits: a thread that goes round for ever changing something is a loop past its bound,
not a hang.
"""

from __future__ import annotations

from mkold.lkmm.graph.events import Node
from mkold.lkmm.sat.depth import Depth
from mkold.lkmm.sat.formula import Formula
from mkold.lkmm.sat.modes import Modes
from mkold.lkmm.sat.solver import FALSE, Lit
from mkold.lkmm.sat.waiting import Cut, Stand


class Hangs:
    """``lit``: at rest, with a thread that stands; FALSE if none can."""

    def __init__(self, formula: Formula, modes: Modes) -> None:
        self.formula, self.modes = formula, modes
        self.lit: Lit = FALSE
        stands = [(stand, lit) for stand, lit in modes.stand_lits if lit != FALSE]
        rings = {id(cut): self._rings(cut) for cut, _ in modes.cut_lits}
        every = [lit for some in rings.values() for lit in some]
        if not stands and not every:
            return
        self._resting: dict[int, list[Lit]] = {}
        for stand, lit in stands:
            for node in stand.nodes:
                self._resting.setdefault(node, []).append(lit)
        self.lit = formula.solver.new()
        formula.add([-self.lit, *(lit for _, lit in stands), *every])
        for cut, lit in modes.cut_lits:
            formula.add([-self.lit, -lit, *rings[id(cut)]])
            for (_, nodes), chosen in zip(cut.rings, rings[id(cut)], strict=True):
                for read in nodes:
                    self._looks_last(read, [-self.lit, -chosen])
        for stand, lit in stands:
            if stand.kind == "grace":
                formula.add([-self.lit, -lit, self._is_held(stand)])
            else:
                for read in stand.nodes:
                    self._looks_last(read, [-self.lit, -lit], at_lock=stand.kind == "lock")

    def _rings(self, cut: Cut) -> list[Lit]:
        """For each way in which the loop came back to where it was: that one is meant."""
        chosen = []
        for guard, _ in cut.rings:
            lit = self.formula.solver.new()
            self.formula.add([-lit, self.formula.circuit.guard(guard)])
            chosen.append(lit)
        return chosen

    def _looks_last(self, read: int, head: list[Lit], *, at_lock: bool = False) -> None:
        """The read, if it happens, finds the last write of its word.

        ``at_lock``: a lock that is taken and left in a round is free in the end, so who waits
        for it does not wait for ever.
        """
        formula = self.formula
        if read not in formula.source:
            return
        for write in formula.coherence.near[read]:
            fr = formula.coherence.fr(read, write.id)
            if fr != FALSE:
                resting = [] if at_lock else self._resting.get(write.id, [])
                formula.add([*head, -fr, *resting])

    # -- grace periods ------------------------------------------------------------

    def _is_held(self, grace: Stand) -> Lit:
        """Some thread stands in a section that the grace period waits for."""
        words, found = self.formula.words, []
        for stand, lit in self.modes.stand_lits:
            if lit != FALSE:
                inside = self._in_rcu(stand) if grace.srcu is None else self._in_srcu(
                    stand, grace.srcu)  # fmt: skip
                found.append(words.both(lit, inside))
        return words.any(found)

    def _before(self, stand: Stand) -> list[Node]:
        nodes = self.formula.graph.nodes
        return [n for n in nodes if n.thread == stand.thread and n.po < stand.po]

    def _in_rcu(self, stand: Stand) -> Lit:
        """An RCU read-side section is open where the thread stands."""
        depth = Depth(self.formula.words)
        for node in self._before(stand):
            if node.order == "rcu-lock":
                depth.enter(self.formula.x[node.id])
            elif node.order == "rcu-unlock":
                depth.leave(self.formula.x[node.id])
        return depth.some

    def _in_srcu(self, stand: Stand, srcu: object) -> Lit:
        """More srcu_read_lock() than srcu_read_unlock() of that srcu_struct happened."""
        formula = self.formula
        depth = Depth(formula.words)
        for node in self._before(stand):
            if node.order in ("srcu-lock", "srcu-unlock"):
                there = formula.at[node.id]
                here = there.get(srcu, FALSE) if isinstance(srcu, int) else formula.x[node.id]
                if node.order == "srcu-lock":
                    depth.enter(here)
                else:
                    depth.leave(here)
        return depth.some
