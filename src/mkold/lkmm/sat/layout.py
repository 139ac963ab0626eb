"""An event graph laid out for judging: which node is which bit, and what of it never changes.

Every memory node has its bit, whether it happens in an execution or not, so that what a
thread's path decides can be kept and used for every execution in which it takes that path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from mkold.lkmm.graph.events import Graph, Node
from mkold.lkmm.sat.expressions import groups

Mask = int  # a set of memory nodes, by their bits


def bits(mask: Mask) -> Iterator[int]:
    """The numbers of the set bits, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class Layout:
    """``ids[i]`` is the node of bit i, ``index`` its inverse; masks of what is fixed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: Sequence[Node] = graph.nodes
        memory = [n for n in graph.nodes if n.is_read or n.is_write]
        self.ids = [n.id for n in memory]
        self.index = {node: i for i, node in enumerate(self.ids)}
        self.n = len(memory)
        self.threads: dict[int, list[Node]] = {}
        for node in graph.nodes:
            self.threads.setdefault(node.thread, []).append(node)
        for nodes in self.threads.values():
            nodes.sort(key=lambda n: n.po)
        self.groups = {
            thread: found for thread, nodes in self.threads.items() if (found := groups(nodes))
        }
        self.full = (1 << self.n) - 1
        self.marked = self.mask(lambda n: n.order != "plain")
        self.reads = self.mask(lambda n: n.is_read)
        self.writes = self.mask(lambda n: n.is_write)
        self.returning = self.mask(lambda n: n.order != "noreturn")
        self.has_plain = self.marked != self.full
        own = {thread: self.of(nodes) for thread, nodes in self.threads.items()}
        self.own = [own[n.thread] for n in memory]  # bit -> all of its thread

    def of(self, nodes: Iterable[Node]) -> Mask:
        """The memory nodes among ``nodes``."""
        index = self.index
        return sum(1 << index[n.id] for n in nodes if n.id in index)

    def mask(self, test: Callable[[Node], bool]) -> Mask:
        """The memory nodes that pass ``test``."""
        return sum(1 << i for i, node in enumerate(self.ids) if test(self.nodes[node]))
