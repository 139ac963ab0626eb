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
from mkold.check.story.misuse import by_flag
from mkold.check.story.waiting import carriers
from mkold.ir.boot import NULL_WORDS
from mkold.ir.program import POISON, POISONS
from mkold.lkmm.naming import is_poisoned
from mkold.lkmm.verdict import INIT_THREAD, LOCK_KINDS, Event, Execution

READS = frozenset({"R", "LKR", "RU"})
STRAYS = frozenset({"poison-address", "null-dereference"})
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
    if flag in STRAYS:
        stray = _first_stray(execution, flag)
        if stray:
            return Anchors(stray)
    bad = _first_poison(execution, initial=flag == "use-before-init")
    if bad is not None:
        source = written_by(execution, bad)
        return Anchors((bad,) if source is None else (source, bad))
    if flag == "use-after-free":  # by the release of a lock
        return Anchors(_over_a_free(execution))
    if flag == "hang":
        return _of_a_hang(execution, everything)
    of_locks = by_flag(execution, flag)
    return Anchors(of_locks, () if of_locks else everything)


def _of_a_hang(execution: Execution, everything: tuple[int, ...]) -> Anchors:
    """Who waits, what for, and who has it; in a loop, all that was written before counts."""
    if not execution.waits:
        locks = tuple(_shared_locks(execution))
        return Anchors(locks, () if locks else everything)
    round_a_loop = any(wait.kind == "loop" for wait in execution.waits)
    return Anchors(carriers(execution), writers=everything if round_a_loop else ())


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


def _first_stray(execution: Execution, flag: str) -> tuple[int, ...]:
    """The first access through what is no address; of POISON, where that is from."""
    events = execution.events
    fitting = [e for e in events if e.thread >= 0 and e.address is not None
               and _fits(e.address, flag)]  # fmt: skip
    if not fitting:
        return ()
    stray = min(fitting, key=lambda event: (event.po, event.thread))
    found = [e.source for e in execution.edges if e.relation == "addr" and e.target == stray.id]
    found += [s for s in (written_by(execution, i) for i in [*found]) if s is not None]
    return (*found, stray.id)


def _fits(address: int, flag: str) -> bool:
    if flag == "poison-address":
        return is_poisoned(address)
    return flag == "null-dereference" and address < NULL_WORDS


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
