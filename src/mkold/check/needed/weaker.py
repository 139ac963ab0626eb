"""Weaker forms of a primitive, the weakest first.

==================  =====================================================================
fence               dropped; ``smp_mb``: also ``smp_rmb``, ``smp_wmb``
access              plain, then ONCE (for acquire and release)
read-modify-write   a READ_ONCE and a WRITE_ONCE (not atomic), then relaxed, acquire,
                    release
``smp_store_mb``    plain, then WRITE_ONCE, then release
grace period        dropped, then ``smp_mb``
part of a word      what there is for parts: no plain store
lock, read section  not taken. If it is released in the same function: this section; else
                    every section of the lock, wherever it is taken and released
==================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mkold.ir import access
from mkold.ir.prims import PRIMS, Gives, Order, Prim, Shape, first
from mkold.ir.variant import Drop, Edit, Site, Split, Swap

# Fences that order less than another.
_WEAKER_FENCES = {"mb": ("rmb", "wmb")}


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

    if row.awaits:
        return (dropped, *_fence_for(site))
    if row.holds is not None:
        # What may fail to take says so, and the code behind it goes by that.
        return () if Gives.DONE in row.gives else _not_taken(site, row.ends, everywhere)
    if row.shape is Shape.FENCE:
        tags = _WEAKER_FENCES.get(row.op, ())
        return (
            ()
            if row.leaves
            else (dropped, *swaps(first(shape=Shape.FENCE, op=tag).name for tag in tags))
        )
    forms = swaps(
        name for name in weaker_prims(row) if access.fits(PRIMS[name], site.width, site.shift)
    )
    if row.shape is Shape.RMW and not row.native:
        return (Weaker("READ_ONCE, WRITE_ONCE", (Split(site.name),)), *forms)
    return tuple(forms)


def _fence_for(site: Site) -> tuple[Weaker, ...]:
    """A full fence in place of a grace period; SRCU's takes an address, a fence none."""
    if PRIMS[site.prim].n_args:
        return ()
    fence = first(shape=Shape.FENCE, op="mb").name
    return (Weaker(fence, (Swap(site.name, fence),)),)


def _not_taken(site: Site, end: str, everywhere: Iterable[Site]) -> tuple[Weaker, ...]:
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
    if row.native:
        return []
    found: dict[Order, Prim] = {}
    for other in PRIMS.values():
        if _same_action(row, other) and _strength(other) < _strength(row):
            found.setdefault(other.order, other)
    return [p.name for p in sorted(found.values(), key=_strength)]


def _strength(row: Prim) -> int:
    """How strongly it orders; a full fence behind it is as strong as can be."""
    return Order.MB.strength if row.after else row.order.strength


def _same_action(a: Prim, b: Prim) -> bool:
    def key(p: Prim) -> tuple[object, ...]:
        return (p.shape, p.op, p.when, p.takes, p.gives, p.operand, p.against, p.native)

    marked = a.shape in (Shape.LOAD, Shape.STORE)
    return key(a) == key(b) and (marked or a.family == b.family)
