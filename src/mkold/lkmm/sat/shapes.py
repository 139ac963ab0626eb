"""Threads of one shape, and the renamings of a rule that exchange them.

Two threads are of one shape if their nodes have, one by one, the same kinds, tags and partners.
A rule of the model speaks of nothing else, so it is as true of other threads of the shape. A
rule names few threads: only these are renamed, in every way, or where those are many, all by
the same number of places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product
from math import perm

from mkold.lkmm.graph.events import Node
from mkold.lkmm.sat.facts import INIT
from mkold.lkmm.sat.grace import open_end
from mkold.lkmm.sat.layout import Layout

MOST_WAYS = 120

Names = dict[int, int]
Shape = tuple[tuple[object, ...], ...]


class Shapes:
    """The threads of ``layout``."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._like: dict[int, list[int]] = {}  # thread -> all of its shape
        by_shape: dict[Shape, list[int]] = {}
        self._place = {n.id: i for t in layout.threads.values() for i, n in enumerate(t)}
        for thread, nodes in layout.threads.items():
            self._like[thread] = by_shape.setdefault(_shape(nodes), [])
            self._like[thread].append(thread)
        self._alone = all(len(like) == 1 for like in self._like.values())

    def renamings(self, nodes: set[int]) -> Iterator[Names]:
        """Of the nodes and open ends that a rule names; the first leaves them as they are."""
        yield {}
        if self._alone:
            return
        of = self.layout.nodes
        named = {n if n >= 0 else open_end(n) for n in nodes if n != INIT}
        groups: dict[int, list[int]] = {}
        for thread in sorted({of[n].thread for n in named}):
            groups.setdefault(self._like[thread][0], []).append(thread)
        every = [self._ways(threads) for threads in groups.values()]
        threads = [thread for some in groups.values() for thread in some]
        for way in product(*every):
            to = dict(zip(threads, (t for part in way for t in part), strict=True))
            if any(a != b for a, b in to.items()):
                yield self._names(named, to)

    def _ways(self, threads: list[int]) -> Sequence[tuple[int, ...]]:
        like = self._like[threads[0]]
        if perm(len(like), len(threads)) <= MOST_WAYS:
            return list(permutations(like, len(threads)))
        places = [like.index(thread) for thread in threads]
        n = len(like)
        return [tuple(like[(place + by) % n] for place in places) for by in range(n)]

    def _names(self, nodes: set[int], to: dict[int, int]) -> Names:
        names: Names = {}
        for node in nodes:
            theirs = self.layout.threads[to[self.layout.nodes[node].thread]]
            other = theirs[self._place[node]].id
            names[node], names[open_end(node)] = other, open_end(other)
        return names


def _shape(nodes: Sequence[Node]) -> Shape:
    places = {node.id: place for place, node in enumerate(nodes)}
    groups = {node.group: place for place, node in reversed(list(enumerate(nodes)))}
    return tuple(
        (n.kind, n.order, n.conditional, places.get(n.rmw), n.group and groups[n.group])
        for n in nodes
    )
