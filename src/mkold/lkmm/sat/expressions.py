"""Operands of one C expression, which C leaves in no order, as literals.

What orders two accesses of one expression in every execution in which both happen: that one
comes by a dependency from the other (``forced``). The others are in some order in each
execution (``precedes``), for each word by itself, by which coherence judges them; the model's
relations know of the forced order only. See ``paths.unordered`` for what this means and where
it is from.
"""

from __future__ import annotations

from itertools import combinations

from mkold.lkmm.graph.events import Graph, Node
from mkold.lkmm.graph.guards import Guard
from mkold.lkmm.sat.circuit import Circuit
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit

Pair = tuple[int, int]


class Expressions:
    """Program order of ``graph`` as literals."""

    def __init__(self, graph: Graph, circuit: Circuit) -> None:
        self.graph, self.circuit = graph, circuit
        self._forced: dict[Pair, Lit] = {}
        self._precedes: dict[Pair, Lit] = {}
        for nodes in groups(graph.nodes):
            for node in nodes:
                self._follows(node, nodes)
            self._in_some_order(nodes)

    def forced(self, a: int, b: int) -> Lit:
        """Of two accesses of one expression, a precedes b by what b depends on."""
        return self._forced.get((a, b), FALSE)

    def precedes(self, a: Node, b: Node) -> Lit:
        """Of two accesses of one thread, a precedes b."""
        lit = self._precedes.get((a.id, b.id))
        if lit is None:
            return TRUE if a.po < b.po else FALSE
        return lit

    def _follows(self, node: Node, nodes: list[Node]) -> None:
        words, guard = self.circuit.words, self.circuit.guard
        before = [n for n in nodes if n.po < node.po]
        direct = {
            n.id: words.both(guard(n.guard), words.any(map(guard, _needs(node, n))))
            for n in before
        }
        for other in before:
            ways = [
                words.both(self.forced(other.id, via.id), direct[via.id])
                for via in before if via is not other
            ]  # fmt: skip
            self._forced[other.id, node.id] = words.any([direct[other.id], *ways])

    def _in_some_order(self, nodes: list[Node]) -> None:
        solver = self.circuit.words.solver
        for a, b in combinations(nodes, 2):
            lit = forced = self.forced(a.id, b.id)
            if forced != TRUE:
                lit = solver.new()
                solver.add([-forced, lit])
            self._precedes[a.id, b.id], self._precedes[b.id, a.id] = lit, -lit


def groups(nodes: list[Node]) -> list[list[Node]]:
    """The accesses of each expression that has several, as they are listed."""
    found: dict[int, list[Node]] = {}
    for node in nodes:
        if node.group:
            found.setdefault(node.group, []).append(node)
    return [nodes for nodes in found.values() if len(nodes) > 1]


def _needs(node: Node, other: Node) -> list[Guard]:
    """Where ``node`` comes from ``other``."""
    if node.is_write and node.rmw == other.id:
        return [1]
    sorts = (node.addr_deps, node.data_deps, node.ctrl_deps, node.args_deps)
    return [sort[other.id] for sort in sorts if other.id in sort]
