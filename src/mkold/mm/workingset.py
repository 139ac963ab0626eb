"""Refaults: a page comes back from swap, and what is remembered of it.

Rules
-----
* What a page leaves behind (its *shadow*) holds the oldest generation of then, and its uses.
* A refault is *recent*, which means that the page was worth keeping, if the oldest generation
  is still the same; with ``MGLRU_WORKINGSET`` 1, if that was less than MAX_NR_GENS before the
  youngest.
* A recent refault counts for the page's tier. It makes the page one of the working set; with
  ``MGLRU_WORKINGSET`` 1 only if it was one before.

Source: mm/workingset.c (lru_gen_eviction, lru_gen_refault, lru_gen_test_recent).
"""

from __future__ import annotations

from mkold.lang import READ_ONCE, Ptr, addr, atomic_add, kernel, u64
from mkold.mm.mm_types import (
    FOLIO_REFS_MASK,
    FOLIO_REFS_SHIFT,
    FOLIO_WORKINGSET,
    MAX_NR_GENS,
    Folio,
    Node,
)
from mkold.mm.swap import SHADOW_REFS, SHADOW_SEQ_SHIFT, SHADOW_WORKINGSET, make_swap_pte
from mkold.mm.tiers import (
    MGLRU_WORKINGSET,
    folio_lru_refs,
    lru_tier_from_refs,
    set_mask_bits,
)


@kernel
def lru_gen_eviction(node: Ptr[Node], folio: Ptr[Folio]) -> u64:
    """What stays of a folio that goes to swap: the process's entry. Counts it."""
    lrugen = addr(node.lrugen)
    flags = READ_ONCE(folio.flags)
    refs = folio_lru_refs(flags)
    workingset: u64 = 1 if flags & FOLIO_WORKINGSET else 0
    atomic_add(lrugen.evicted[lru_tier_from_refs(refs, workingset)], 1)
    marked: u64 = workingset if MGLRU_WORKINGSET else refs
    return make_swap_pte(READ_ONCE(lrugen.min_seq), max(refs, 1) - 1, marked)


@kernel
def lru_gen_test_recent(node: Ptr[Node], pte: u64) -> bool:
    """Whether the page left so recently that keeping it would have paid."""
    then: u64 = (pte & (SHADOW_WORKINGSET - 1)) >> SHADOW_SEQ_SHIFT
    if MGLRU_WORKINGSET:
        return READ_ONCE(node.lrugen.max_seq) - then < MAX_NR_GENS
    return READ_ONCE(node.lrugen.min_seq) == then


@kernel
def lru_gen_refault(node: Ptr[Node], folio: Ptr[Folio], pte: u64) -> None:
    """A fresh folio, which no list has yet, takes the place of what left ``pte`` behind."""
    if not lru_gen_test_recent(node, pte):
        return
    workingset: u64 = 1 if pte & SHADOW_WORKINGSET else 0
    refs: u64 = pte & SHADOW_REFS
    tier = lru_tier_from_refs(refs + (1 if MGLRU_WORKINGSET else workingset), workingset)
    atomic_add(node.lrugen.refaulted[tier], 1)
    if not MGLRU_WORKINGSET:
        set_mask_bits(folio, 0, FOLIO_REFS_MASK | FOLIO_WORKINGSET)
    elif workingset:
        set_mask_bits(folio, 0, FOLIO_WORKINGSET)
    else:
        set_mask_bits(folio, FOLIO_REFS_MASK, refs << FOLIO_REFS_SHIFT)
