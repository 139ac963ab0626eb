"""Which words an expression may be: an over-approximation, by fixpoint over all threads.

A read may find whatever any write to an address it may have can store, or the initial
word. A value can pass through each write at most once without depending on itself, so as
many rounds as there are computed writes suffice, and loops like ``r = x; x = r + 1`` end.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from mkold.base.errors import LimitError
from mkold.ir.nodes import evaluate_binary, evaluate_unary
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.graph.guards import Guard
from mkold.lkmm.graph.values import Node, Value, fold

MAX_WORDS = 512


Loose = set[int] | None  # None: too many to say


class EachByItself:
    """What a value may be, each part by itself: which go together is not asked.

    ``found`` gives the words that a read may find, ``most`` is how many words a value may
    be.
    """

    def __init__(self, found: Callable[[int], set[int]], most: int) -> None:
        self.found, self._most = found, most

    def word(self, word: int) -> Loose:
        return {word}

    def applied(self, op: str, a: Loose) -> Loose:
        return None if a is None else self._few({evaluate_unary(op, word) for word in a})

    def combined(self, op: str, a: Loose, b: Loose) -> Loose:
        if a is None or b is None:
            return None
        return self._few({evaluate_binary(op, x, y) for x, y in product(a, b)})

    def chosen(self, cond: Loose, a: Loose, b: Loose) -> Loose:
        return None if a is None or b is None else self._few(a | b)

    def met(self, guard: Guard, a: Loose, b: Loose) -> Loose:
        return None if a is None or b is None else self._few(a | b)

    def _few(self, words: set[int]) -> Loose:
        return words if len(words) <= self._most else None


class MayValues:
    """Words that each read, and so each value, may be; computed when first asked."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._reads: dict[int, set[int]] | None = None

    def of(self, value: Value) -> set[int]:
        """All words that ``value`` may be."""
        if self._reads is None and self.graph.domains:
            self._reads = {read: set(words) for read, words in self.graph.domains.items()}
        if self._reads is None:
            self._reads = {node.id: set() for node in self.graph.nodes if node.is_read}
            self._solve()
        return self._words(value, {})

    def initial(self, address: int) -> int:
        return initial_word(self.graph, address)

    def _words(self, value: Value, memo: dict[Node, Loose]) -> set[int]:
        assert self._reads is not None
        words = fold(value, EachByItself(self._reads.__getitem__, MAX_WORDS), memo)
        if words is None:
            raise LimitError(f"an expression may have more than {MAX_WORDS} values")
        return words

    def _solve(self) -> None:
        assert self._reads is not None
        nodes = self.graph.nodes
        reads = [node for node in nodes if node.is_read]
        writes = [node for node in nodes if node.is_write]
        computed = sum(not isinstance(node.value, int) for node in writes)
        for _ in range(computed + len(reads) + 2):
            memo: dict[Node, Loose] = {}
            stored: dict[int, set[int]] = {}
            for write in writes:
                words = self._words(write.value, memo)
                for address in self._words(write.addr, memo):
                    stored.setdefault(address, set()).update(words)
            grown = False
            for read in reads:
                known = self._reads[read.id]
                before = len(known)
                if read.must is not None:
                    known.add(read.must)
                else:
                    for address in self._words(read.addr, memo):
                        known |= stored.get(address, set())
                        known.add(self.initial(address))
                grown |= len(known) != before
            if not grown:
                return


def initial_word(graph: Graph, address: int) -> int:
    """The word at ``address`` before anything ran."""
    program = graph.program
    default = program.default if address < graph.first_private else 0
    return program.init.get(address, default)
