"""Tiers: what a folio's flags remember of its use, and which of them eviction protects.

Rules
-----
* A folio remembers that it was used (``REFERENCED``), a few uses more (two bits), and that it
  belongs to the working set (``WORKINGSET``). Until Linux 6.13 (``MGLRU_WORKINGSET`` 0) the
  uses come in that order, the bits last, and its *tier* is log2 of them; later the bits come
  before ``WORKINGSET``, which alone is the last tier.
* Of each tier is counted what was evicted, protected, and came back (*refaulted*) while the
  same generation was the oldest; where that changes, the counts go into averages by half.
* Eviction takes all tiers up to the first that refaults so much more than tier 0 that it is
  worth protecting; no tier is that refaulted less than MIN_LRU_BATCH times.

Source: mm/vmscan.c (read_ctrl_pos, reset_ctrl_pos, positive_ctrl_err, get_tier_idx), mm/swap.c
(folio_inc_refs, lru_gen_inc_refs), include/linux/mm_inline.h.
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    kernel,
    parameter,
    try_cmpxchg,
    u64,
)
from mkold.mm.mm_types import (
    FOLIO_REFERENCED,
    FOLIO_REFS_MASK,
    FOLIO_REFS_SHIFT,
    FOLIO_WORKINGSET,
    MAX_NR_TIERS,
    MIN_LRU_BATCH,
    Folio,
    LruGen,
)

MGLRU_WORKINGSET = parameter("MGLRU_WORKINGSET", 0)
# What accesses through file descriptors would have to reach, to be promoted.
ALL_REFS = (FOLIO_REFS_MASK >> FOLIO_REFS_SHIFT) + 1


@kernel
def uses() -> u64:
    """The flags that a folio loses as it is promoted or merged into the next generation."""
    kept: u64 = 0 if MGLRU_WORKINGSET else FOLIO_WORKINGSET
    return FOLIO_REFS_MASK | FOLIO_REFERENCED | kept


@kernel
def set_mask_bits(folio: Ptr[Folio], mask: u64, bits: u64) -> u64:
    """Clear ``mask`` of the folio's flags and set ``bits``; what they were before."""
    while True:
        old = READ_ONCE(folio.flags)
        ok, _seen = try_cmpxchg(folio.flags, old, (old & ~mask) | bits)
        if ok:
            return old


@kernel
def folio_set_referenced(folio: Ptr[Folio]) -> None:
    """Remember that it was used, not how often."""
    if not READ_ONCE(folio.flags) & FOLIO_REFERENCED:
        set_mask_bits(folio, 0, FOLIO_REFERENCED)


@kernel
def folio_mark_accessed(folio: Ptr[Folio]) -> None:
    """Remember one use more that no walk has found."""
    while True:
        old = READ_ONCE(folio.flags)
        workingset = old & FOLIO_WORKINGSET
        if not old & FOLIO_REFERENCED:
            new = old | FOLIO_REFERENCED
            if MGLRU_WORKINGSET:
                new &= ~FOLIO_REFS_MASK
        elif not MGLRU_WORKINGSET and not workingset:
            new = old | FOLIO_WORKINGSET
        elif (old & FOLIO_REFS_MASK) != FOLIO_REFS_MASK:
            new = old + (1 << FOLIO_REFS_SHIFT)
        else:
            new = old | FOLIO_WORKINGSET
        ok, _seen = try_cmpxchg(folio.flags, old, new)
        if ok:
            return


@kernel
def folio_lru_refs(flags: u64) -> u64:
    """How often a folio was used, as far as its flags know."""
    refs: u64 = (flags & FOLIO_REFS_MASK) >> FOLIO_REFS_SHIFT
    if MGLRU_WORKINGSET:
        return refs + 1 if flags & FOLIO_REFERENCED else 0
    return refs + 1 if flags & FOLIO_WORKINGSET else refs


@kernel
def lru_tier_from_refs(refs: u64, workingset: u64) -> u64:
    """The tier of so many uses."""
    if MGLRU_WORKINGSET and workingset:
        return MAX_NR_TIERS - 1
    n: u64 = refs if MGLRU_WORKINGSET else refs + 1
    tier: u64 = 0
    while 1 << tier < n:
        tier += 1
    return tier


@kernel
def is_protected(lrugen: Ptr[LruGen], flags: u64, tier_idx: u64) -> bool:
    """Whether eviction leaves a folio of the oldest generation alone, which it then counts."""
    refs = folio_lru_refs(flags)
    workingset: u64 = 1 if flags & FOLIO_WORKINGSET else 0
    tier = lru_tier_from_refs(refs, workingset)
    uses: u64 = refs + workingset if MGLRU_WORKINGSET else refs
    most: u64 = ALL_REFS + 1 if MGLRU_WORKINGSET else ALL_REFS
    if tier <= tier_idx and uses != most:
        return False
    if not MGLRU_WORKINGSET or uses != most:
        lrugen.protected[tier] += 1
    return True


@kernel
def count_protected(lrugen: Ptr[LruGen], flags: u64) -> None:
    """A folio is merged into the next generation: that protects it too."""
    if not MGLRU_WORKINGSET:
        return
    refs = folio_lru_refs(flags)
    workingset: u64 = 1 if flags & FOLIO_WORKINGSET else 0
    if refs + workingset != ALL_REFS + 1:
        lrugen.protected[lru_tier_from_refs(refs, workingset)] += 1


@kernel
def reset_ctrl_pos(lrugen: Ptr[LruGen]) -> None:
    """Another generation is the oldest; caller holds ``lru_lock``."""
    for tier in range(MAX_NR_TIERS):
        refaulted = lrugen.avg_refaulted[tier] + READ_ONCE(lrugen.refaulted[tier])
        total = lrugen.avg_total[tier] + lrugen.protected[tier]
        lrugen.avg_refaulted[tier] = refaulted >> 1
        lrugen.avg_total[tier] = (total + READ_ONCE(lrugen.evicted[tier])) >> 1
        WRITE_ONCE(lrugen.refaulted[tier], 0)
        WRITE_ONCE(lrugen.evicted[tier], 0)
        lrugen.protected[tier] = 0


@kernel
def read_ctrl_pos(lrugen: Ptr[LruGen], tier: u64) -> tuple[u64, u64]:
    """How many of a tier have refaulted, of how many."""
    refaulted = lrugen.avg_refaulted[tier] + READ_ONCE(lrugen.refaulted[tier])
    total = lrugen.avg_total[tier] + lrugen.protected[tier]
    return refaulted, total + READ_ONCE(lrugen.evicted[tier])


@kernel
def get_tier_idx(lrugen: Ptr[LruGen]) -> u64:
    """The last tier that eviction may take."""
    gain: u64 = 2 if MGLRU_WORKINGSET else 1
    refaulted, total = read_ctrl_pos(lrugen, 0)
    for tier in range(1, MAX_NR_TIERS):
        refaulted_here, total_here = read_ctrl_pos(lrugen, tier)
        worth = refaulted_here * (total + MIN_LRU_BATCH) * gain
        if refaulted_here >= MIN_LRU_BATCH and (
            worth > (refaulted + 1) * total_here * (gain + 1)
        ):
            return tier - 1
    return MAX_NR_TIERS - 1
