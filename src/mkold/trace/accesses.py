"""Accesses in order, as a reader hands them on.

Rules
-----
1. A load is a read, a store is a write, a modify is a read and then a write; an instruction
   fetch is a read, where it is wanted at all.
2. What crosses the end of a page touches each of the two pages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mkold.trace.schema import PAGE_SHIFT, U8, U32, U64

READ, WRITE, MODIFY, FETCH, NO_ACCESS, UNKNOWN = range(6)


@dataclass(frozen=True, slots=True)
class Accesses:
    """Virtual page number and kind (1 for a write) of each; ``run`` says how many times in a
    row, once each if it is not given."""

    vpn: U64
    write: U8
    run: U32 | None = None


def split(address: U64, size: U64, kind: U8) -> Accesses:
    """One entry for each page and kind of what was accessed (rules 1 and 2)."""
    shift = np.uint64(PAGE_SHIFT)
    vpn = address >> shift
    crosses = (address + (size - np.uint64(1))) >> shift != vpn
    write = (kind == WRITE).astype(np.uint8)
    modifies = kind == MODIFY
    if not crosses.any() and not modifies.any():
        return Accesses(vpn, write)
    copies = (1 + crosses.astype(np.intp)) * (1 + modifies.astype(np.intp))
    source = np.repeat(np.arange(len(vpn)), copies)
    nth = np.arange(len(source)) - np.repeat(np.cumsum(copies) - copies, copies)
    n_pages = np.where(crosses, 2, 1)[source]
    vpn = vpn[source] + (nth % n_pages).astype(np.uint64)
    write = write[source] | (nth >= n_pages).astype(np.uint8)
    return Accesses(vpn, write)
