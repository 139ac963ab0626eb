"""The table of primitives: the only words with which code may touch shared memory.

``row``       what a row says: shape, order, columns
``accesses``  loads and stores
``atomics``   read-modify-writes
``fences``    fences, RCU, SRCU
``locks``     spinlocks, reader-writer locks
``awaits``    loads that wait until a condition holds
``stack``     words for locals whose address is taken
``others``    checks, the CPU's number, its clock, prefetches
``implementations``  the kernel Python that some of them are natively

Nothing else lists primitives, by name or otherwise: a reading has one case a shape
(``Shape``) and reads columns. What accesses compute is said once too, in ``mkold.ir.access``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mkold.ir.prims import accesses, atomics, awaits, fences, locks, others, stack
from mkold.ir.prims.row import VAL, Gives, Holds, Order, Prim, Shape, Takes, When

__all__ = [
    "PRIMS",
    "VAL",
    "Gives",
    "Holds",
    "Order",
    "Prim",
    "Shape",
    "Takes",
    "When",
    "find",
    "first",
]

_TOPICS = (accesses, awaits, atomics, fences, locks, stack, others)


def _every_name(row: Prim) -> Iterator[Prim]:
    """``row``; of ``atomic_t`` also for ``atomic64_t`` and ``atomic_long_t``.

    ``atomic_t`` is as wide as its object, the others are 64 bits wide: nothing but that and
    the name differs.
    """
    yield row
    if row.family == "atomic":
        for family in ("atomic64", "atomic_long"):
            name = family + row.name.removeprefix("atomic")
            yield replace(row, name=name, family=family, width=64)


PRIMS: dict[str, Prim] = {
    each.name: each for topic in _TOPICS for row in topic.ROWS for each in _every_name(row)
}


def find(**columns: object) -> list[Prim]:
    """The rows whose columns are as given, in the order of the table."""
    return [
        row
        for row in PRIMS.values()
        if all(getattr(row, name) == value for name, value in columns.items())
    ]


def first(**columns: object) -> Prim:
    """The first row whose columns are as given.

    Raises
    ------
    LookupError : no row is so
    """
    for row in find(**columns):
        return row
    raise LookupError(f"no primitive has {columns}")
