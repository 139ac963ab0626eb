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

from mkold.lkmm.paths.paths import Act, Path

Held = tuple[str, int]  # what sort of thing, and where
SHARED, ALONE = False, True

# primitive -> (sort, held alone, waits)
_TAKES = {
    "spin_lock": ("lock", ALONE, True),
    "spin_trylock": ("lock", ALONE, False),
    "read_lock": ("lock", SHARED, True),
    "write_lock": ("lock", ALONE, True),
    "rcu_read_lock": ("rcu", SHARED, False),
    "srcu_read_lock": ("srcu", SHARED, False),
    "srcu_down_read": ("srcu", SHARED, False),
}
_LEAVES = {
    "spin_unlock": "lock", "read_unlock": "lock", "write_unlock": "lock",
    "rcu_read_unlock": "rcu", "srcu_read_unlock": "srcu", "srcu_up_read": "srcu",
}  # fmt: skip
_AWAITS = {
    "synchronize_rcu": "rcu", "synchronize_rcu_expedited": "rcu",
    "synchronize_srcu": "srcu", "synchronize_srcu_expedited": "srcu",
}  # fmt: skip


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
        prim, mine = act.node.prim, held.setdefault(act.thread, [])
        if prim in _TAKES and not (act.is_write or act.kind == "LF"):
            sort, alone, blocks = _TAKES[prim]
            thing = _thing(sort, act)
            if blocks:
                yield Wait(act.thread, thing, alone, frozenset(mine))
            mine.append((thing, alone))
        elif prim in _LEAVES and not (act.is_read and act.rmw >= 0):
            thing = _thing(_LEAVES[prim], act)
            for entry in reversed(mine):
                if entry[0] == thing:
                    mine.remove(entry)
                    break
        elif prim in _AWAITS:
            yield Wait(act.thread, _thing(_AWAITS[prim], act), ALONE, frozenset(mine))


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
