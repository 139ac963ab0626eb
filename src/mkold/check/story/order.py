"""An order to read an execution's events in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

from mkold.check.story.steps import COM
from mkold.lkmm.verdict import Execution


def thread_by_thread(execution: Execution) -> tuple[int, ...]:
    events = sorted(execution.events, key=lambda event: (event.thread, event.po, event.id))
    return tuple(event.id for event in events)


def in_time(execution: Execution) -> tuple[int, ...]:
    """An order in time with few changes between threads."""
    threads = sorted({event.thread for event in execution.events})
    orders = [_from(execution, first) for first in threads]
    return min(orders, key=lambda order: _changes(execution, order), default=())


def _changes(execution: Execution, order: Sequence[int]) -> int:
    threads = [execution.events[i].thread for i in order]
    return sum(a != b for a, b in pairwise(threads))


def _from(execution: Execution, current: int) -> tuple[int, ...]:
    """An order in time that starts with a thread, if it can, and stays with each."""
    waiting = {
        thread: list(events)
        for thread, events in groupby(
            (execution.events[i] for i in thread_by_thread(execution)),
            lambda event: event.thread,
        )
    }
    before: dict[int, set[int]] = {}
    for edge in execution.edges:
        if edge.relation in COM:
            before.setdefault(edge.target, set()).add(edge.source)
    order: list[int] = []
    while any(waiting.values()):
        ready = [t for t, events in waiting.items()
                 if events and before.get(events[0].id, set()) <= set(order)]  # fmt: skip
        current = current if current in ready else ready[0]
        order.append(waiting[current].pop(0).id)
    return tuple(order)
