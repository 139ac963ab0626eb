"""Why two accesses race although something stands between them: linux-kernel.cat's bounds.

A plain access may be torn, repeated, made up or merged by the compiler; so it is ordered only
by what bounds it on the side of the other access. Before it, that is a full fence or an
acquire; for a read also an address dependency or ``smp_rmb()``. After it, a full fence or a
release; for a read also ``smp_rmb()``. A plain write counts as a read as well, since the
compiler may read where it is to write: ``smp_wmb()`` does not bound it, nor does a branch.

Known limits: only the first marked events through which one thread sees the other are looked
at; what is said is about the thread's own order, not about the rest of the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mkold.check.story.steps import COM
from mkold.lkmm.verdict import Event, Execution

_FULL = frozenset({"mb", "sync-rcu", "sync-srcu"})
_WEAK = {"wmb": "smp_wmb()", "rmb": "smp_rmb()", "barrier": "barrier()"}


def bounds(
    execution: Execution, first: Event, second: Event, say: Callable[[Event], str]
) -> Iterator[str]:
    """What stands behind ``first`` and before ``second`` and does not order them, and why."""
    for leave, enter in _ways(execution, first, second):
        yield from _behind(execution, first, leave, say)
        yield from _ahead(execution, enter, second, say)
        return


def _ways(execution: Execution, first: Event, second: Event) -> Iterator[tuple[Event, Event]]:
    """Where the first thread is seen by the second in between: out here, in there."""
    events = execution.events
    for edge in execution.edges:
        a, b = events[edge.source], events[edge.target]
        if edge.relation in COM and (a.thread, b.thread) == (first.thread, second.thread):
            plain = "plain" in (a.order, b.order)
            if first.po < a.po and b.po < second.po and not plain:
                yield a, b


def _between(execution: Execution, a: Event, b: Event) -> list[Event]:
    return [
        e
        for e in execution.events
        if e.thread == a.thread and a.po < e.po < b.po and e.kind in ("F", "SRCU")
    ]


def _behind(
    execution: Execution, first: Event, leave: Event, say: Callable[[Event], str]
) -> Iterator[str]:
    fences = _between(execution, first, leave)
    orders = {event.order for event in fences}
    if first.order != "plain" or orders & _FULL or leave.order in ("release", "mb"):
        return
    if leave.kind == "R" and "rmb" in orders:
        return
    for fence in fences:
        if fence.order == "wmb":
            why = "it orders writes alone"
            if first.kind == "W":
                why += ", and the compiler may read where a plain write is to be"
            yield (
                f"smp_wmb() does not order {say(first)}, since {why}; smp_store_release() or "
                "smp_mb() in its place would."
            )
            return
        if fence.order in _WEAK:
            yield f"{_WEAK[fence.order]} does not order {say(first)} with {say(leave)}."
            return


def _ahead(
    execution: Execution, enter: Event, second: Event, say: Callable[[Event], str]
) -> Iterator[str]:
    orders = {event.order for event in _between(execution, enter, second)}
    if second.order != "plain" or orders & _FULL or enter.order in ("acquire", "mb"):
        return
    if second.kind == "R" and "rmb" in orders:
        return
    relations = {
        edge.relation.rstrip("+")
        for edge in execution.edges
        if (edge.source, edge.target) == (enter.id, second.id)
    }
    if "addr" in relations:
        return
    weak = [order for order in ("rmb", "wmb", "barrier") if order in orders]
    if weak:
        why = "it orders reads alone" if weak[0] == "rmb" else "it orders writes alone"
        yield (
            f"{_WEAK[weak[0]]} does not order {say(second)}, since {why}; smp_load_acquire() "
            "or smp_mb() before it would."
        )
    elif "ctrl" in relations:
        yield (
            f"A branch on {say(enter)} does not order {say(second)}, since the compiler may "
            "move a plain access before it; smp_load_acquire() would."
        )
