"""SRCU's cookies: which unlock a lock's cookie comes to, as literals, and what is wrong.

A cookie goes by data from the lock to the unlock, through memory if need be (other threads
may pass it on). No value is computed from itself, so "this read holds that cookie" is defined
without a circle in every execution that the model allows.

Source: linux-kernel.bell ("Compute matching pairs of Srcu-lock and Srcu-unlock").
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from mkold.lkmm.graph.events import Node
from mkold.lkmm.sat.facts import INIT
from mkold.lkmm.sat.formula import Formula
from mkold.lkmm.sat.solver import Lit


class Cookies:
    """Flags of ``formula``'s SRCU sections, as ``(name, literal)``."""

    def __init__(self, formula: Formula) -> None:
        self.formula = formula
        nodes = formula.memory
        self.locks = [n for n in nodes if n.order == "srcu-lock"]
        self.unlocks = [n for n in nodes if n.order == "srcu-unlock"]
        self._held: dict[tuple[int, int], Lit] = {}

    def flags(self) -> Iterator[tuple[str, Lit]]:
        """What is wrong, and where."""
        formula, words = self.formula, self.formula.words
        matches = {
            (lock.id, unlock.id): self._match(lock, unlock)
            for lock in self.locks for unlock in self.unlocks
        }  # fmt: skip
        for lock in self.locks:
            mine = [matches[lock.id, unlock.id] for unlock in self.unlocks]
            yield "unmatched-srcu-lock", words.both(formula.x[lock.id], -words.any(mine))
            for a, b in combinations(mine, 2):
                yield "multiple-srcu-matches", words.both(a, b)
            cookie = formula.circuit.value(lock.value)
            for unlock in self.unlocks:
                same = words.same(cookie, formula.circuit.value(unlock.value))
                yield "srcu-bad-value-match", words.both(matches[lock.id, unlock.id], -same)
        for unlock in self.unlocks:
            mine = [matches[lock.id, unlock.id] for lock in self.locks]
            yield "unmatched-srcu-unlock", words.both(formula.x[unlock.id], -words.any(mine))

    def _match(self, lock: Node, unlock: Node) -> Lit:
        """The lock's cookie comes to the unlock, and both are of one srcu_struct."""
        words = self.formula.words
        return words.both(self._stored(lock.id, unlock), self.formula.same(lock.id, unlock.id))

    def _stored(self, lock: int, write: Node) -> Lit:
        """The write happens and its value comes from the cookie."""
        formula, words = self.formula, self.formula.words
        ways = [
            words.all([formula.circuit.guard(guard), self._holds(lock, read)])
            for read, guard in write.data_deps.items()
        ]
        return words.both(formula.x[write.id], words.any(ways))

    def _holds(self, lock: int, read: int) -> Lit:
        """The read found the cookie."""
        formula = self.formula
        if read == lock:
            return formula.x[lock]
        known = self._held.get((lock, read))
        if known is not None:
            return known
        held = self._held[lock, read] = formula.solver.new()
        ways = []
        for write, found in formula.source.get(read, {}).items():
            if write != INIT and formula.graph.nodes[write].order != "srcu-unlock":
                stored = self._stored(lock, formula.graph.nodes[write])
                ways.append(formula.words.both(found, stored))
        formula.add([-held, *ways])
        for way in ways:
            formula.add([held, -way])
        return held
