"""The flags of linux-kernel.bell, .cat and lock.cat, each as it stands there.

Source: linux-kernel.bell, linux-kernel.cat ("Plain accesses and data races"), lock.cat.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from mkold.lkmm.graph.events import Life
from mkold.lkmm.literal.relations import Literal
from mkold.lkmm.literal.sets import back, on, then
from mkold.lkmm.verdict import LOCK_KINDS

# What keeps two accesses of one thread apart for the compiler.
BARRIERS = (
    "barrier", "rmb", "wmb", "mb", "sync-rcu", "sync-srcu", "before-atomic", "after-atomic",
    "acquire", "release", "rcu-lock", "rcu-unlock", "srcu-lock", "srcu-unlock",
)  # fmt: skip


def model_flags(
    made: Literal, values: Mapping[int, int], asked: Collection[int]
) -> Iterator[str]:
    """Flags of an allowed execution; ``asked`` are words whose end is observed."""
    if made.races:
        yield "data-race"
    if _mixed(made):
        yield "mixed-accesses"
    yield from _sections(made)
    yield from _srcu(made, values)
    yield from _locks(made, asked)


def _mixed(made: Literal) -> bool:
    """A plain write and a marked access of one word with no barrier between."""
    po = made.po
    release = on(made.some(lambda a: a.order == "release" and a.is_write))
    acquire = on(made.some(lambda a: a.order == "acquire" and a.is_read))
    barrier = then(po, made.tagged(*BARRIERS), po)
    barrier |= then(po, release) | then(acquire, po)
    wild = made.plains & made.writes
    for a, b in made.po_same - barrier:
        if (a in wild and b in made.marked) or (a in made.marked and b in wild):
            return True
    return False


def _sections(made: Literal) -> Iterator[str]:
    """rcu_read_lock() and rcu_read_unlock() that don't match; a sleep between two that do."""
    matched = {event for pair in made.rscs for event in pair}
    if made.some(lambda a: a.order == "rcu-lock") - matched:
        yield "unmatched-rcu-lock"
    if made.some(lambda a: a.order == "rcu-unlock") - matched:
        yield "unmatched-rcu-unlock"
    if made.rscs & then(made.po, made.kind("SRCU"), made.po):
        yield "invalid-sleep"


def _srcu(made: Literal, values: Mapping[int, int]) -> Iterator[str]:
    rscs = made.srcu_rscs
    if made.some(lambda a: a.order == "srcu-lock") - {a for a, _ in rscs}:
        yield "unmatched-srcu-lock"
    if made.some(lambda a: a.order == "srcu-unlock") - {b for _, b in rscs}:
        yield "unmatched-srcu-unlock"
    if then(back(rscs), rscs) - on(made.everything):
        yield "multiple-srcu-matches"
    if any(values[a] != values[b] for a, b in rscs):
        yield "srcu-bad-value-match"


def _locks(made: Literal, asked: Collection[int]) -> Iterator[str]:
    """lock.cat: what is done to a word that is a lock, and unlocks of what is not held."""
    mine = made.some(
        lambda a: (
            a.kind in LOCK_KINDS or a.kind == "SRCU" or a.order in ("srcu-lock", "srcu-unlock")
        )
    )
    places = {made.place[event] for event in mine}
    data = made.memory - made.initial - mine - made.some(lambda a: a.node.life is not Life.NONE)
    if any(made.place[event] in places for event in data):
        yield "mixed-lock-accesses"
    if places & set(asked):
        yield "lock-final"
    locked, unlocked = made.kind("LKW"), made.kind("UL")
    between = then(made.po_same, locked | unlocked, made.po_same)
    critical = then(locked, made.po_same, unlocked) - between
    if made.some(lambda a: a.kind == "UL") - {b for _, b in critical}:
        yield "unmatched-unlock"
