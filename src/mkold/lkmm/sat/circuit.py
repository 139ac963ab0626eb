"""The values and guards of an event graph as a circuit over the solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mkold.lkmm.graph.events import Decision
from mkold.lkmm.graph.guards import Guard
from mkold.lkmm.graph.values import Value
from mkold.lkmm.sat.abstract import Abstract, partly
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit
from mkold.lkmm.sat.walk import Walk
from mkold.lkmm.sat.words import Bits, Words


class Circuit(Walk[Bits, Lit]):
    """Bits of values, literals of guards; ``read`` gives the bits of what a read finds."""

    def __init__(
        self, words: Words, decisions: Sequence[Decision], read: Callable[[int], Bits]
    ) -> None:
        super().__init__(decisions)
        self.words, self.read = words, read
        self.free: dict[int, Lit] = {}

    def word(self, word: int) -> Bits:
        return self.words.constant(word)

    def found(self, read: int) -> Bits:
        return self.read(read)

    def applied(self, op: str, a: Bits) -> Bits:
        return self.words.unary(op, a)

    def combined(self, op: str, a: Bits, b: Bits) -> Bits:
        return self.words.binary(op, a, b)

    def chosen(self, cond: Bits, a: Bits, b: Bits) -> Bits:
        return self.words.choose_word(self.words.nonzero(cond), a, b)

    def met(self, guard: Lit, a: Bits, b: Bits) -> Bits:
        return self.words.choose_word(guard, a, b)

    def always(self, holds: bool) -> Lit:
        return TRUE if holds else FALSE

    def taken(self, decision: int, guard: Lit, cond: Bits | None) -> Lit:
        if cond is not None:
            return self.words.both(guard, self.words.nonzero(cond))
        free = self.free.get(decision)
        if free is None:
            free = self.free[decision] = self.words.solver.new()
        return self.words.both(guard, free)

    def opposite(self, guard: Lit) -> Lit:
        return -guard

    def both(self, a: Lit, b: Lit) -> Lit:
        return self.words.both(a, b)

    def either(self, a: Lit, b: Lit) -> Lit:
        return self.words.either(a, b)

    def truth(self, value: Value) -> Lit:
        """The value is not 0."""
        return self.words.nonzero(self.value(value))

    def all(self, *guards: Guard) -> Lit:
        """All of the guards hold."""
        return self.words.all(map(self.guard, guards))


def fresh_word(words: Words, domain: Abstract) -> Bits:
    """Unknown bits, but for those that all words of ``domain`` share."""
    zeros, ones = partly(domain)
    return words.fresh(zeros, ones)


def membership(words: Words, bits: Bits, domain: Abstract) -> list[Lit] | None:
    """A clause that keeps ``bits`` in ``domain``; None if its bits alone do."""
    if not isinstance(domain, dict):
        return None
    varying = sum(abs(bit) != TRUE for bit in bits)
    if len(domain) >= 1 << min(varying, 20):
        return None
    return [words.is_word(bits, word) for word in domain]
