"""What a thread holds at a place in its program order: locks, and sections it is in."""

from __future__ import annotations

from collections.abc import Iterator

from mkold.check.story.steps import by_thread
from mkold.ir.prims import PRIMS
from mkold.lkmm.verdict import Event, Execution, Wait

_WRITES = frozenset({"W", "LKW", "UL"})
_ENTERS = {"rcu-lock": "rcu-unlock", "srcu-lock": "srcu-unlock"}
_LEAVES = frozenset(_ENTERS.values())


def held(execution: Execution, thread: int, po: int | None = None) -> list[Event]:
    """What was taken or entered before ``po`` (None: the end) and not left again by then."""
    return [taken for taken, left in _pairs(execution, thread, po) if left is None]


def sleeps(prim: str) -> bool:
    """Whether the primitive of this name may sleep."""
    row = PRIMS.get(prim)
    return row is not None and (bool(row.awaits) or row.sleeps)


def asleep(execution: Execution) -> list[Wait]:
    """Who sleeps for ever with something held."""
    return [w for w in execution.waits if sleeps(w.prim) and held(execution, w.thread)]


def unmatched(execution: Execution, thread: int) -> tuple[list[Event], list[Event]]:
    """What is taken or entered and never left; what is left and was never taken."""
    pairs = list(_pairs(execution, thread, None))
    matched = {left.id for _, left in pairs if left is not None}
    stray = [
        event
        for event in by_thread(execution).get(thread, [])
        if _leaves(event) and event.id not in matched
    ]
    return [taken for taken, left in pairs if left is None], stray


def takes(execution: Execution, event: Event) -> bool:
    """Whether it takes a lock, by its first half, or enters a section."""
    row = PRIMS.get(event.prim)
    if event.order in _ENTERS:
        return True
    halves = {edge.source for edge in execution.edges if edge.relation == "rmw"}
    return row is not None and row.holds is not None and event.id in halves


def _leaves(event: Event) -> bool:
    row = PRIMS.get(event.prim)
    left = row is not None and bool(row.leaves) and event.kind in _WRITES
    return left or event.order in _LEAVES


def _pairs(
    execution: Execution, thread: int, po: int | None
) -> Iterator[tuple[Event, Event | None]]:
    """Each taking with its leaving, inner ones first; those left open last."""
    under_way: list[Event] = []
    for event in by_thread(execution).get(thread, []):
        if po is not None and event.po >= po:
            break
        if takes(execution, event):
            under_way.append(event)
        elif _leaves(event):
            mine = [e for e in under_way if _same(execution, e, event)]
            if mine:
                under_way.remove(mine[-1])
                yield mine[-1], event
    yield from ((event, None) for event in under_way)


def _same(execution: Execution, taken: Event, left: Event) -> bool:
    """Whether ``left`` leaves what was taken; an SRCU section by the cookie it hands on."""
    if taken.order in _ENTERS or left.order in _LEAVES:
        if _ENTERS.get(taken.order) != left.order or taken.address != left.address:
            return False
        cookie = any(
            (e.source, e.target) == (taken.id, left.id) and e.relation == "data"
            for e in execution.edges
        )
        return cookie or taken.order == "rcu-lock"
    return taken.address == left.address
