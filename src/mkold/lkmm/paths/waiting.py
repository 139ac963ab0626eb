"""Waiting in a ring: locks taken in two orders, a grace period awaited under a lock.

LKMM speaks of executions in which every thread comes to its end; one that gets stuck is
not among them. So deadlocks are looked for in what threads wait for: thread A waits for
something that B holds while B waits for something that A holds, and so on round, where no
two of them hold a lock in common that keeps them apart.

What is held: spinlocks, reader/writer locks (readers don't wait for readers), RCU and SRCU
read-side sections; what waits: taking a lock (not ``spin_trylock``), ``synchronize_rcu``,
``synchronize_srcu``. Paths are those of executions that the model allows.

Known limits: a ring that only a path which never ends shows is missed, unless no execution
ends at all; a ring that values or barriers rule out is reported nevertheless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mkold.ir.prims import PRIMS
from mkold.lkmm.paths.paths import Act, Path

Held = tuple[str, int]  # what sort of thing, and where
ALONE = True  # waited for against readers too


@dataclass(frozen=True, slots=True)
class Wait:
    """One thread waits for ``thing`` (``alone``: against readers too), holding ``held``."""

    thread: int
    thing: Held
    alone: bool
    held: frozenset[tuple[Held, bool]]


def waits(path: Path) -> Iterator[Wait]:
    """Every wait of a path's threads, with what they hold then."""
    held: dict[int, list[tuple[Held, bool]]] = {}
    for act in path.acts:
        row, mine = PRIMS.get(act.node.prim), held.setdefault(act.thread, [])
        if row is None:
            continue
        if row.holds is not None and not (act.is_write or act.kind == "LF"):
            thing = _thing(row.holds.sort, act)
            if row.holds.waits:
                yield Wait(act.thread, thing, row.holds.alone, frozenset(mine))
            mine.append((thing, row.holds.alone))
        elif row.leaves and not (act.is_read and act.rmw >= 0):
            thing = _thing(row.leaves, act)
            for entry in reversed(mine):
                if entry[0] == thing:
                    mine.remove(entry)
                    break
        elif row.awaits:
            yield Wait(act.thread, _thing(row.awaits, act), ALONE, frozenset(mine))


def _thing(sort: str, act: Act) -> Held:
    return sort, 0 if sort == "rcu" else act.address


def ring(paths: Sequence[Path]) -> bool:
    """Whether the paths' threads may wait for each other in a ring."""
    every = [wait for path in paths for wait in waits(path) if wait.held]
    return any(_closes(wait, [wait], every) for wait in every)


def _closes(first: Wait, chain: list[Wait], every: Sequence[Wait]) -> bool:
    last = chain[-1]
    for wait in every:
        if _blocks(wait, last):
            if wait is first and len(chain) > 1:
                return True
            fits = all(wait.thread != other.thread and _apart(wait, other) for other in chain)
            if fits and _closes(first, [*chain, wait], every):
                return True
    return False


def _blocks(holder: Wait, waiter: Wait) -> bool:
    """Whether ``waiter`` waits for something that ``holder`` holds."""
    return holder.thread != waiter.thread and any(
        thing == waiter.thing and (alone or waiter.alone) for thing, alone in holder.held
    )


def _apart(a: Wait, b: Wait) -> bool:
    """Whether nothing keeps the two from getting there at the same time."""
    return not any(
        thing == other and (alone or other_alone)
        for thing, alone in a.held
        for other, other_alone in b.held
    )
