"""Steps of an execution: program order, communication, and what they lead to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise

from mkold.lkmm.verdict import INIT_THREAD, Edge, Event, Execution

COM = ("rf", "co", "fr")
Graph = Mapping[int, Collection[int]]


def by_thread(execution: Execution) -> dict[int, list[Event]]:
    """Events by thread, in program order; no initial writes."""
    threads: dict[int, list[Event]] = {}
    for event in sorted(execution.events, key=lambda event: (event.po, event.id)):
        if event.thread != INIT_THREAD:
            threads.setdefault(event.thread, []).append(event)
    return threads


def program_order(execution: Execution, among: Collection[int]) -> Iterator[tuple[int, int]]:
    """Neighbours in program order, and neighbours at the same word."""
    for events in by_thread(execution).values():
        inside = [event for event in events if event.id in among]
        yield from ((a.id, b.id) for a, b in pairwise(inside))
        words: dict[int, int] = {}
        for event in inside:
            if event.address is not None:
                if event.address in words:
                    yield words[event.address], event.id
                words[event.address] = event.id


def pairs(edges: Iterable[Edge]) -> list[tuple[int, int]]:
    return [(edge.source, edge.target) for edge in edges]


def after(pairs: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    graph: dict[int, set[int]] = {}
    for a, b in pairs:
        graph.setdefault(a, set()).add(b)
    return graph


def reached(graph: Graph, start: int) -> set[int]:
    """What can be reached from ``start`` in one step or more."""
    seen: set[int] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return seen


def reaches(pairs: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    return end in reached(after(pairs), start)


def cyclic(pairs: Iterable[tuple[int, int]]) -> set[int]:
    graph = after(pairs)
    return {node for node in graph if node in reached(graph, node)}


def rings(execution: Execution) -> set[int]:
    """Events on a cycle of program order and rf, co, fr: no order in time has them."""
    inside = {event.id for event in execution.events}
    com = [edge for edge in execution.edges if edge.relation in COM]
    return cyclic([*program_order(execution, inside), *pairs(com)])
