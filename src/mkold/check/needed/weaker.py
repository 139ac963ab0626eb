"""Weaker forms of a primitive, the weakest first.

==================  =====================================================================
fence               dropped; ``smp_mb``: also ``smp_rmb``, ``smp_wmb``
access              plain, then ONCE (for acquire and release)
read-modify-write   a READ_ONCE and a WRITE_ONCE (not atomic), then relaxed, acquire,
                    release
``smp_store_mb``    WRITE_ONCE, then release
grace period        dropped, then ``smp_mb``
lock, read section  not taken. If it is released in the same function: this section; else
                    every section of the lock, wherever it is taken and released
==================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mkold.ir.prims import PRIMS, Order, Prim, Shape
from mkold.ir.variant import Drop, Edit, Site, Split, Swap

_STRENGTH = {
    Order.PLAIN: 0,
    Order.NORETURN: 1,
    Order.ONCE: 1,
    Order.ACQUIRE: 2,
    Order.RELEASE: 2,
    Order.MB: 3,
}
_ENDS = {
    "rcu_read_lock": "rcu_read_unlock",
    "srcu_read_lock": "srcu_read_unlock",
    "srcu_down_read": "srcu_up_read",
    "spin_lock": "spin_unlock",
    "read_lock": "read_unlock",
    "write_lock": "write_unlock",
}
_WEAKER_FENCE = {"smp_mb": ("smp_rmb", "smp_wmb")}
_SPLIT = frozenset({Shape.XCHG, Shape.CMPXCHG, Shape.TRY_CMPXCHG, Shape.FETCH})


@dataclass(frozen=True, slots=True)
class Weaker:
    """One weaker form of a place: ``label`` it; ``edits`` make it."""

    label: str
    edits: tuple[Edit, ...]


def weaker_forms(site: Site, everywhere: Iterable[Site]) -> tuple[Weaker, ...]:
    """Weaker forms of the primitive at ``site``, the weakest first.

    ``everywhere`` lists the places of all functions that run, to find where a lock ends.
    """
    row = PRIMS[site.prim]
    dropped = Weaker("dropped", (Drop(site.name),))

    def swaps(names: Iterable[str]) -> list[Weaker]:
        return [Weaker(name, (Swap(site.name, name),)) for name in names]

    match row.shape:
        case Shape.FENCE:
            return (dropped, *swaps(_WEAKER_FENCE.get(row.name, ())))
        case Shape.SYNC_RCU | Shape.SYNC_SRCU:
            return (dropped, *_fence_for(site))
        case Shape.STORE_MB:
            return tuple(swaps(["WRITE_ONCE", "smp_store_release"]))
        case _ if row.name in _ENDS:
            return _not_taken(site, everywhere)
        case shape if shape in _SPLIT:
            split = Weaker("READ_ONCE, WRITE_ONCE", (Split(site.name),))
            return (split, *swaps(weaker_prims(row)))
        case _:
            return tuple(swaps(weaker_prims(row)))


def _fence_for(site: Site) -> tuple[Weaker, ...]:
    """A full fence in place of a grace period; SRCU's takes an address, a fence none."""
    if PRIMS[site.prim].n_args:
        return ()
    return (Weaker("smp_mb", (Swap(site.name, "smp_mb"),)),)


def _not_taken(site: Site, everywhere: Iterable[Site]) -> tuple[Weaker, ...]:
    end = _ENDS[site.prim]
    same = [s for s in everywhere if s.prim in (site.prim, end) and _one_lock(s, site)]
    here = [s for s in same if s.function == site.function]
    ends_here = any(s.prim == end for s in here)
    section = here if ends_here else same
    if not any(s.prim == end for s in section):
        return ()
    return (Weaker("not taken", tuple(Drop(s.name) for s in section)),)


def _one_lock(a: Site, b: Site) -> bool:
    """Whether two places name the same lock: RCU has one, else by the field's name."""
    return a.what.rpartition(".")[2] == b.what.rpartition(".")[2]


def weaker_prims(row: Prim) -> list[str]:
    """Rows that do the same with a weaker order, the weakest first."""
    if row.order not in _STRENGTH:
        return []
    found: dict[Order, Prim] = {}
    for other in PRIMS.values():
        if _same_action(row, other) and _STRENGTH[other.order] < _STRENGTH[row.order]:
            found.setdefault(other.order, other)
    return [p.name for p in sorted(found.values(), key=lambda p: _STRENGTH[p.order])]


def _same_action(a: Prim, b: Prim) -> bool:
    def key(p: Prim) -> tuple[object, ...]:
        return (p.shape, p.op, p.result, p.operand, p.n_args, p.n_dsts)

    same_family = a.name.startswith("atomic_") == b.name.startswith("atomic_")
    marked = a.shape in (Shape.LOAD, Shape.STORE)
    return key(a) == key(b) and b.order in _STRENGTH and (same_family or marked)
