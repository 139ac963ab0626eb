"""The table of primitives: the only words with which code may touch shared memory.

``row``       what a row says: shape, order, columns
``accesses``  loads and stores
``atomics``   read-modify-writes
``fences``    fences, RCU, SRCU
``locks``     spinlocks, reader-writer locks
``awaits``    loads that wait until a condition holds
``stack``     words for locals whose address is taken
``others``    checks, the CPU's number, its clock
``implementations``  the kernel Python that some of them are natively

Nothing else lists primitives, by name or otherwise: a reading has one case a shape
(``Shape``) and reads columns. What accesses compute is said once too, in ``mkold.ir.access``.
"""

from __future__ import annotations

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

PRIMS: dict[str, Prim] = {
    row.name: row
    for topic in (accesses, awaits, atomics, fences, locks, stack, others)
    for row in topic.ROWS
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
