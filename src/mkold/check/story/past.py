"""The edges between threads that tell what led to the anchors.

Rules
-----
1. The past is what lies at or before an anchor in program order, or has an rf or co edge
   into the past.
2. Of the rf, co and fr edges between threads, those within the past are kept which nothing
   else says: not other edges at the same word with program order, and, outside cycles, not
   other edges with program order.
3. Threads that only look on are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from mkold.check.story.anchors import WRITES, Anchors
from mkold.check.story.steps import COM, by_thread, cyclic, pairs, program_order, reaches
from mkold.lkmm.verdict import INIT_THREAD, LOCK_KINDS, Edge, Execution


def between(execution: Execution, anchor: Anchors) -> tuple[Edge, ...]:
    """The edges between threads to show, without threads that only look on."""
    before = _past(execution, anchor)
    while True:
        edges = _between_threads(execution, anchor, before)
        idle = _onlookers(execution, anchor, edges)
        if not idle:
            return edges
        before = frozenset(i for i in before if execution.events[i].thread not in idle)


def _onlookers(execution: Execution, anchor: Anchors, edges: Iterable[Edge]) -> set[int]:
    """Threads that only read, and carry nothing of the property."""
    ends = {end for edge in edges for end in (edge.source, edge.target)}
    events = [execution.events[i] for i in {*ends, *anchor.events}]
    active = {e.thread for e in events if e.kind != "R" or e.id in anchor.events}
    return {event.thread for event in events} - active - {*anchor.threads}


def _between_threads(
    execution: Execution, anchor: Anchors, past: Collection[int]
) -> tuple[Edge, ...]:
    com = [
        edge for edge in execution.edges
        if edge.relation in COM and edge.source in past and edge.target in past
        and execution.events[edge.source].thread != INIT_THREAD
    ]  # fmt: skip
    po = list(program_order(execution, past))
    outer = [edge for edge in com if not _same(execution, edge, "thread")]
    ring = cyclic([*po, *pairs(com)])
    safe = [pair for pair in po if not set(pair) <= ring or _pair_at(execution, pair)]
    atomic = [(e.source, e.target) for e in execution.edges if e.relation == "rmw"]
    steps = [*safe, *atomic, *pairs(com)]
    left = list(outer)
    for edge in sorted(outer, key=_weight(execution)):
        if _essential(execution, edge, anchor):
            continue
        others = [pair for pair in steps if pair != (edge.source, edge.target)]
        if reaches(others, edge.source, edge.target):
            left.remove(edge)
            steps = others
    return tuple(left)


def _essential(execution: Execution, edge: Edge, anchor: Anchors) -> bool:
    """An rf edge between two anchors is the property itself."""
    return edge.relation == "rf" and {edge.source, edge.target} <= set(anchor.events)


def _weight(execution: Execution) -> Callable[[Edge], tuple[bool, int]]:
    """Which edges to try to do without first: locks, then co, fr, rf."""

    def weight(edge: Edge) -> tuple[bool, int]:
        lock = execution.events[edge.source].kind in LOCK_KINDS
        return not lock, ("co", "fr", "rf").index(edge.relation)

    return weight


def _same(execution: Execution, edge: Edge, field: str) -> bool:
    events = execution.events
    return bool(getattr(events[edge.source], field) == getattr(events[edge.target], field))


def _pair_at(execution: Execution, pair: tuple[int, int]) -> bool:
    """Two events at the same word."""
    a, b = (execution.events[i].address for i in pair)
    return a is not None and a == b


def _past(execution: Execution, anchor: Anchors) -> frozenset[int]:
    """Rule 1."""
    last: dict[int, int] = {}
    waiting = list(anchor.events)
    shared = _shared(execution)
    for event in execution.events:
        writes = event.thread in anchor.writers and event.kind in WRITES
        if event.thread in anchor.threads or (writes and event.address in shared):
            waiting.append(event.id)
    into: dict[int, list[int]] = {}
    for edge in execution.edges:
        if edge.relation in ("rf", "co"):
            into.setdefault(edge.target, []).append(edge.source)
    threads = by_thread(execution)
    while waiting:
        event = execution.events[waiting.pop()]
        seen = last.get(event.thread, -1)
        if event.thread == INIT_THREAD or event.po <= seen:
            continue
        last[event.thread] = event.po
        for earlier in threads[event.thread]:
            if seen < earlier.po <= event.po:
                waiting += into.get(earlier.id, [])
    return frozenset(e.id for e in execution.events if e.po <= last.get(e.thread, -1))


def _shared(execution: Execution) -> set[int | None]:
    """Words that more than one thread touches."""
    owner: dict[int | None, int] = {}
    shared: set[int | None] = set()
    for event in execution.events:
        if event.thread != INIT_THREAD and owner.setdefault(event.address, event.thread) != (
            event.thread
        ):
            shared.add(event.address)
    return shared
