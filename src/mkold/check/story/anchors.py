"""What carries a broken property.

The two racing events; the read of POISON and the write that it reads from; a free and what
is written over it; the last write of each word that a bad final state is about. A final
state puts every thread in question: up to its last write, or to its end if the state is about
its results.

Known limits: which reads gave a result is not known, so every order that its thread took
part in is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mkold.check.result import About
from mkold.ir.program import POISON, POISONS
from mkold.lkmm.verdict import INIT_THREAD, LOCK_KINDS, Event, Execution

READS = frozenset({"R", "LKR", "RU"})
WRITES = frozenset({"W", "LKW", "UL"})


@dataclass(frozen=True, slots=True)
class Anchors:
    """``events`` carry the property; of ``threads`` everything is in question, of
    ``writers`` everything up to its last write to a word that others touch too."""

    events: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    writers: tuple[int, ...] = ()


def anchors(execution: Execution, flag: str = "", about: About | None = None) -> Anchors:
    """What carries a broken property.

    Parameters
    ----------
    flag : the property's name, if it is one of the execution itself
    about : what the test of a bad final state looked at; None: the property is none
    """
    everything = tuple(range(len(execution.threads)))
    if about is not None:
        last = [e for e in execution.events if e.address in about.words]
        writes = tuple(event.id for event in last if _last(execution, event))
        return Anchors(writes, tuple(sorted(about.threads)), everything)
    if execution.race is not None:
        return Anchors(execution.race)
    if flag in ("write-after-free", "double-free"):
        return Anchors(_over_a_free(execution))
    bad = _first_poison(execution, initial=flag == "use-before-init")
    if bad is not None:
        source = written_by(execution, bad)
        return Anchors((bad,) if source is None else (source, bad))
    if flag == "use-after-free":  # by the release of a lock
        return Anchors(_over_a_free(execution))
    locks = tuple(_shared_locks(execution)) if flag == "hang" else ()
    return Anchors(locks, () if locks else everything)


def _last(execution: Execution, event: Event) -> bool:
    """Whether ``event`` is the last write to its word."""
    if event.kind not in WRITES:
        return False
    return not any(e.relation == "co" and e.source == event.id for e in execution.edges)


def _first_poison(execution: Execution, *, initial: bool) -> int | None:
    """The first read of POISON: of what was freed, or of what was never initialised."""
    found = [e for e in execution.events if e.kind in READS and e.value in POISONS]
    found.sort(key=lambda event: (event.po, event.thread))
    fitting = [e.id for e in found if (written_by(execution, e.id) is None) == initial]
    return next(iter([*fitting, *(event.id for event in found)]), None)


def _over_a_free(execution: Execution) -> tuple[int, ...]:
    """A write right after a free, and the free; the write alone if it was free before."""
    events = execution.events
    for edge in execution.edges:
        free, write = events[edge.source], events[edge.target]
        if edge.relation == "co" and free.value == POISON and write.prim != "unpoison":
            initial = free.thread == INIT_THREAD
            return (write.id,) if initial else (free.id, write.id)
    return ()


def written_by(execution: Execution, read: int) -> int | None:
    """The write that ``read`` reads from, unless that is the initial one."""
    for edge in execution.edges:
        if edge.relation == "rf" and edge.target == read:
            initial = execution.events[edge.source].thread == INIT_THREAD
            return None if initial else edge.source
    return None


def _shared_locks(execution: Execution) -> Iterator[int]:
    """Lock events of locks that more than one thread takes."""
    takers: dict[int | None, set[int]] = {}
    for event in execution.events:
        if event.kind in LOCK_KINDS:
            takers.setdefault(event.address, set()).add(event.thread)
    for event in execution.events:
        shared = len(takers.get(event.address, ())) > 1
        if event.kind in ("LKR", "UL") and shared:
            yield event.id
