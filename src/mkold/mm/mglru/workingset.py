"""Refaults: a page comes back from swap, and what is remembered of it.

Rules
-----
* A refault is *recent* if the shadow is less than MAX_NR_GENS generations old, which means
  that the page was worth keeping.
* The page joins the youngest generation. With ``MGLRU_WORKINGSET`` 1 only one that a walk had
  promoted, and that is back soon, does; another joins the second youngest if it is read, the
  third if it is written (so it is seen of Linux 7.2; why writes differ was not found out).

Source: mm/workingset.c (lru_gen_refault, lru_gen_test_recent).
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    kernel,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.mglru.generations import MGLRU_WORKINGSET, lru_gen_add_folio_seq
from mkold.mm.mm_types import FOLIO_WORKINGSET, MAX_NR_GENS, Folio, Node
from mkold.mm.swap import SHADOW_MASK, SHADOW_WORKINGSET


@kernel
def lru_gen_test_recent(node: Ptr[Node], pte: u64) -> bool:
    """Whether the page left so recently that keeping it would have paid."""
    now = READ_ONCE(node.lrugen.min_seq)
    if MGLRU_WORKINGSET:
        now = READ_ONCE(node.lrugen.max_seq)
    return now - (pte & SHADOW_MASK) < MAX_NR_GENS


@kernel
def refault_distance(node: Ptr[Node], folio: Ptr[Folio], pte: u64, write: u64) -> u64:
    """How many generations behind the youngest a page joins that comes back."""
    if not MGLRU_WORKINGSET:
        return 0
    if pte & SHADOW_WORKINGSET and lru_gen_test_recent(node, pte):
        WRITE_ONCE(folio.flags, FOLIO_WORKINGSET)
        return 0
    return 2 if write else 1


@kernel
def lru_gen_refault(node: Ptr[Node], folio: Ptr[Folio], pte: u64, write: u64) -> None:
    """Put a fresh folio, which takes the place of what left ``pte`` behind, on its list."""
    lrugen = addr(node.lrugen)
    spin_lock(lrugen.lru_lock)
    behind = refault_distance(node, folio, pte, write)
    behind = min(behind, lrugen.max_seq - lrugen.min_seq)
    lru_gen_add_folio_seq(lrugen, folio, lrugen.max_seq - behind)
    spin_unlock(lrugen.lru_lock)
