"""Which words an expression may be: an over-approximation, by fixpoint over all threads.

A read may find whatever any write to an address it may have can store, or the initial
word. A value can pass through each write at most once without depending on itself, so as
many rounds as there are computed writes suffice, and loops like ``r = x; x = r + 1`` end.
"""

from __future__ import annotations

from itertools import product

from mkold.base.errors import LimitError
from mkold.ir.nodes import evaluate_binary, evaluate_unary
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.graph.values import Value

MAX_WORDS = 512


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

    def _words(self, value: Value, memo: dict[Value, set[int]]) -> set[int]:
        if type(value) is int:
            return {value}
        if value[0] == "r":
            assert self._reads is not None
            return self._reads[value[1]]
        known = memo.get(value)
        if known is not None:
            return known
        tag = value[0]
        if tag in "ps":
            words = self._words(value[2], memo) | self._words(value[3], memo)
        elif tag == "u":
            words = {evaluate_unary(value[1], a) for a in self._words(value[2], memo)}
        else:
            left, right = self._words(value[2], memo), self._words(value[3], memo)
            words = {evaluate_binary(value[1], a, b) for a, b in product(left, right)}
        if len(words) > MAX_WORDS:
            raise LimitError(f"an expression may have more than {MAX_WORDS} values")
        memo[value] = words
        return words

    def _solve(self) -> None:
        assert self._reads is not None
        nodes = self.graph.nodes
        reads = [node for node in nodes if node.is_read]
        writes = [node for node in nodes if node.is_write]
        computed = sum(type(node.value) is not int for node in writes)
        for _ in range(computed + len(reads) + 2):
            memo: dict[Value, set[int]] = {}
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
