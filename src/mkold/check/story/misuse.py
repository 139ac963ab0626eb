"""The events that carry a misuse of locks and read-side sections, by the flag's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from mkold.check.story.holding import asleep, held, sleeps, unmatched
from mkold.ir.prims import PRIMS
from mkold.lkmm.verdict import LOCK_KINDS, Event, Execution

_SRCU = ("srcu-lock", "srcu-unlock")


def by_flag(execution: Execution, flag: str) -> tuple[int, ...]:
    """What carries ``flag``; nothing if it is about something else."""
    find = _FINDERS.get(flag)
    return () if find is None else tuple(event.id for event in find(execution))


def _first(parts: Iterable[list[Event]]) -> list[Event]:
    """The first that is not empty."""
    return next((part for part in parts if part), [])


def _left_open(order: str) -> Callable[[Execution], list[Event]]:
    def find(execution: Execution) -> list[Event]:
        return _first(
            [event for event in unmatched(execution, thread)[0] if event.order == order][:1]
            for thread in range(len(execution.threads))
        )

    return find


def _left_twice(order: str) -> Callable[[Execution], list[Event]]:
    """Left without being taken; of a lock ``order`` is empty."""

    def find(execution: Execution) -> list[Event]:
        def fits(event: Event) -> bool:
            row = PRIMS.get(event.prim)
            lock = row is not None and row.leaves in ("lock", "mutex")
            return event.order == order if order else lock

        return _first(
            [event for event in unmatched(execution, thread)[1] if fits(event)][:1]
            for thread in range(len(execution.threads))
        )

    return find


def _srcu(execution: Execution) -> list[Event]:
    """All entering and leaving of SRCU sections in the thread that does most of it."""
    threads = [
        [event for event in execution.events if event.thread == thread and event.order in _SRCU]
        for thread in range(len(execution.threads))
    ]
    return max(threads, key=len, default=[])


def _sleeping(execution: Execution) -> list[Event]:
    """What sleeps, and what is held meanwhile; also where the thread does not come back."""
    done = (
        [*inside, event]
        for event in execution.events
        if sleeps(event.prim) and event.thread >= 0
        for inside in [held(execution, event.thread, event.po)]
        if inside
    )
    return _first(done) or _first(held(execution, wait.thread) for wait in asleep(execution))


def _mixed(execution: Execution) -> list[Event]:
    """A use of a lock and another access of its word."""

    def pairs() -> Iterator[list[Event]]:
        for lock in execution.events:
            if lock.kind in LOCK_KINDS:
                for other in execution.events:
                    same = other.address == lock.address and other.thread >= 0
                    if same and other.kind in ("R", "W"):
                        yield [lock, other]

    return _first(pairs())


_FINDERS: dict[str, Callable[[Execution], list[Event]]] = {
    "unmatched-rcu-lock": _left_open("rcu-lock"),
    "unmatched-rcu-unlock": _left_twice("rcu-unlock"),
    "unmatched-srcu-lock": _left_open("srcu-lock"),
    "unmatched-srcu-unlock": _left_twice("srcu-unlock"),
    "unmatched-unlock": _left_twice(""),
    "multiple-srcu-matches": _srcu,
    "srcu-bad-value-match": _srcu,
    "sleep-in-atomic": _sleeping,
    "invalid-sleep": _sleeping,
    "mixed-lock-accesses": _mixed,
}
