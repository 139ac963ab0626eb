"""Rows with mkold's own columns, or such as mean the same, as accesses.

``page`` (or ``vpn``, ``gfn``, ``pfn``) is the number of a page, ``address`` (``addr``) one of
a byte; ``write`` (``is_write``) says whether it is a write, ``kind`` (``type``, ``op``, ``rw``)
names it; ``run`` (``count``) is how many times in a row, once where it is missing. Other
columns are not used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mkold.trace.accesses import Accesses
from mkold.trace.schema import MAX_RUN, PAGE_SHIFT, U8, U64

NAMES = {
    "page": "page", "vpn": "page", "gfn": "page", "pfn": "page",
    "address": "address", "addr": "address",
    "write": "write", "is_write": "write",
    "kind": "kind", "type": "kind", "op": "kind", "rw": "kind",
    "run": "run", "count": "run",
}  # fmt: skip
MOST_RUN = MAX_RUN >> 1
_VPNS = np.uint64(1 << (64 - PAGE_SHIFT))


def columns(names: Sequence[str]) -> dict[str, int] | None:
    """Which column is what; None if they are not of a trace."""
    found: dict[str, int] = {}
    for at, name in enumerate(names):
        meant = NAMES.get(name.strip().strip("\"'").lower())
        if meant is not None and meant not in found:
            found[meant] = at
    has_place = "page" in found or "address" in found
    has_kind = "write" in found or "kind" in found
    return found if has_place and has_kind else None


def accesses(place: U64, is_address: bool, write: U8, run: U64) -> Accesses:
    """From columns that were looked at by ``wrong``; long runs are split."""
    vpn = place >> np.uint64(PAGE_SHIFT) if is_address else place
    if int(run.max(initial=1)) <= MOST_RUN:
        return Accesses(vpn, write, run.astype(np.uint32))
    most = np.uint64(MOST_RUN)
    parts = ((run + most - np.uint64(1)) // most).astype(np.intp)
    last = np.cumsum(parts) - 1
    split = np.full(int(parts.sum()), most, np.uint64)
    split[last] = run - (parts - 1).astype(np.uint64) * most
    return Accesses(np.repeat(vpn, parts), np.repeat(write, parts), split.astype(np.uint32))


def wrong(place: U64, is_address: bool, run: U64) -> NDArray[np.intp]:
    """The rows that make no sense: a page above all, or a run of none or too many."""
    above = np.zeros(len(place), bool) if is_address else place >= _VPNS
    found: NDArray[np.intp] = np.flatnonzero(above | (run == 0) | (run > MAX_RUN))
    return found
