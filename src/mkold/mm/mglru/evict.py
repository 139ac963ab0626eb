"""Eviction: frames of the oldest generation go to swap until enough are free.

Rules
-----
* Only generations older than the two youngest are evicted from; when there is none,
  aging comes first, by whoever needs the frame; if somebody else is at it, wait for that.
* From the tail of the oldest list, under ``lru_lock``: a folio whose number changed is
  sorted to the list it belongs to, one of a tier that is protected (``tiers``) goes to the
  next generation; others are isolated, up to 64. Then, without the lock, each is asked
  for accesses (a second chance if there were any), unmapped, written and freed.
* With ``MGLRU_WORKINGSET`` 1 it looks at no more folios than are to be freed (Linux 7.2 does
  so); else it takes 64 at once, and frees more than it was asked for.
* A folio kept goes to the youngest generation. With ``MGLRU_WORKINGSET`` 1 that is for those
  of the working set, which one becomes that was used twice before; others go to the second
  youngest.

Source: mm/vmscan.c (evict_folios, scan_folios, sort_folio, shrink_folio_list, run_eviction,
lru_gen_set_refs).
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    Ptr,
    addr,
    cast,
    cpu_relax,
    kernel,
    smp_processor_id,
    spin_is_locked,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.frames import free_folio
from mkold.mm.list import list_add, list_add_tail, list_del, list_empty
from mkold.mm.mglru.generations import (
    folio_inc_gen,
    folio_lru_gen,
    get_nr_gens,
    lru_add_drain,
    lru_gen_add_folio,
    lru_gen_del_folio,
    lru_gen_folio_seq,
    lru_gen_from_seq,
    try_to_inc_min_seq,
)
from mkold.mm.mglru.look_around import folio_referenced
from mkold.mm.mglru.walk import try_to_inc_max_seq
from mkold.mm.mglru.young import MGLRU_NOTIFIERS
from mkold.mm.mm_types import (
    AGING_NONE,
    FOLIO_ACTIVE,
    FOLIO_REFERENCED,
    FOLIO_REFS_MASK,
    FOLIO_WORKINGSET,
    MAX_LRU_BATCH,
    MAX_NR_GENS,
    MIN_LRU_BATCH,
    MIN_NR_GENS,
    NO_INDEX,
    Folio,
    LruGen,
    Mm,
    Node,
    Scratch,
)
from mkold.mm.rmap import folio_pfn, try_to_unmap
from mkold.mm.tiers import (
    MGLRU_WORKINGSET,
    folio_lru_refs,
    folio_mark_accessed,
    get_tier_idx,
    is_protected,
    set_mask_bits,
    uses,
)


@kernel
def sort_folio(lrugen: Ptr[LruGen], folio: Ptr[Folio], tier_idx: u64) -> bool:
    """Move a folio to the list it belongs to; False if it may be evicted."""
    oldest = lru_gen_from_seq(lrugen.min_seq)
    gen = folio_lru_gen(folio)
    first: u64 = 1
    if gen == oldest:
        if not is_protected(lrugen, READ_ONCE(folio.flags), tier_idx):
            return False
        gen = folio_inc_gen(lrugen, folio)
        first = MGLRU_WORKINGSET
    list_del(addr(folio.lru))
    if first:
        list_add(addr(folio.lru), addr(lrugen.lists[gen]))
    else:
        list_add_tail(addr(folio.lru), addr(lrugen.lists[gen]))
    return True


@kernel
def isolate_folio(lrugen: Ptr[LruGen], scratch: Ptr[Scratch], folio: Ptr[Folio]) -> None:
    """Take a folio off its list, for this CPU."""
    if not READ_ONCE(folio.flags) & FOLIO_REFERENCED:
        set_mask_bits(folio, uses(), 0)
    if not MGLRU_WORKINGSET:
        set_mask_bits(folio, FOLIO_REFERENCED, 0)
    if lru_gen_del_folio(lrugen, folio):
        scratch.isolated[scratch.n_isolated] = folio
        scratch.n_isolated += 1


@kernel
def isolate_folios(node: Ptr[Node], scratch: Ptr[Scratch], nr_to_scan: u64) -> u64:
    """Fill ``scratch.isolated`` from the oldest generation; sorts what it meets.

    Returns how many folios it looked at, 0 if that is no use. Caller holds ``lru_lock``.
    """
    lrugen = addr(node.lrugen)
    scratch.n_isolated = 0
    if get_nr_gens(lrugen) == MIN_NR_GENS:
        return 0
    tier_idx = get_tier_idx(lrugen)
    head = addr(lrugen.lists[lru_gen_from_seq(lrugen.min_seq)])
    most: u64 = min(nr_to_scan, MAX_LRU_BATCH) if MGLRU_WORKINGSET else MAX_LRU_BATCH
    scanned: u64 = 0
    while not list_empty(head) and scanned < most and scratch.n_isolated < MIN_LRU_BATCH:
        folio = cast(Ptr[Folio], head.prev)
        scanned += 1
        if not sort_folio(lrugen, folio, tier_idx):
            isolate_folio(lrugen, scratch, folio)
    if MGLRU_WORKINGSET:
        return scanned
    return scanned if scratch.n_isolated or scanned == most else 0


@kernel
def keep_used(folio: Ptr[Folio]) -> None:
    """Mark an isolated folio that was found used, for its way back to a list."""
    flags = READ_ONCE(folio.flags)
    if not MGLRU_WORKINGSET:
        set_mask_bits(folio, uses(), FOLIO_ACTIVE)
    elif not flags & (FOLIO_REFERENCED | FOLIO_WORKINGSET):
        set_mask_bits(folio, FOLIO_REFS_MASK, FOLIO_REFERENCED)
    else:
        if folio_lru_refs(flags) > 1:
            set_mask_bits(folio, uses(), FOLIO_WORKINGSET)
        else:
            folio_mark_accessed(folio)
        set_mask_bits(folio, 0, FOLIO_ACTIVE)


@kernel
def shrink_folio(node: Ptr[Node], mm: Ptr[Mm], folio: Ptr[Folio]) -> bool:
    """Free one isolated folio; False if it was used and should stay."""
    if node.lrugen.mode != AGING_NONE and folio_referenced(mm, folio):
        node.events[smp_processor_id()].rotated += 1
        keep_used(folio)
        return False
    if try_to_unmap(node, mm, folio):
        node.events[smp_processor_id()].pswpout += 1
    free_folio(node, folio_pfn(node, folio))
    return True


@kernel
def putback_folio(lrugen: Ptr[LruGen], folio: Ptr[Folio]) -> None:
    """Put a kept folio on a list, but not on the oldest; caller holds ``lru_lock``."""
    flags = READ_ONCE(folio.flags)
    if lru_gen_folio_seq(lrugen, flags, 0) == lrugen.min_seq:
        set_mask_bits(folio, uses(), FOLIO_ACTIVE)
    lru_gen_add_folio(lrugen, folio, 0)


@kernel
def putback_folios(node: Ptr[Node], scratch: Ptr[Scratch]) -> None:
    """Return kept folios to a list; free those unmapped meanwhile."""
    n_gone: u64 = 0
    spin_lock(node.lrugen.lru_lock)
    for i in range(scratch.n_isolated):
        folio = cast(Ptr[Folio], scratch.isolated[i])
        if READ_ONCE(folio.index) == NO_INDEX:
            scratch.isolated[n_gone] = folio
            n_gone += 1
        else:
            putback_folio(addr(node.lrugen), folio)
    spin_unlock(node.lrugen.lru_lock)
    for i in range(n_gone):
        free_folio(node, folio_pfn(node, cast(Ptr[Folio], scratch.isolated[i])))


@kernel
def shrink_isolated(node: Ptr[Node], mm: Ptr[Mm], scratch: Ptr[Scratch]) -> u64:
    """Free what is isolated, in order, or put it back; returns frames freed."""
    freed: u64 = 0
    kept: u64 = 0
    for i in range(scratch.n_isolated):
        folio = cast(Ptr[Folio], scratch.isolated[i])
        if shrink_folio(node, mm, folio):
            freed += 1
        else:
            scratch.isolated[kept] = folio
            kept += 1
    scratch.n_isolated = kept
    putback_folios(node, scratch)
    node.events[smp_processor_id()].pgsteal += freed
    return freed


@kernel
def isolate_asked(node: Ptr[Node], scratch: Ptr[Scratch], nr_to_scan: u64) -> u64:
    """``isolate_folios`` between looks for the oldest generation; once more if it isolated
    none of those it looked at. Caller holds ``lru_lock``."""
    try_to_inc_min_seq(addr(node.lrugen))
    scanned = isolate_folios(node, scratch, nr_to_scan)
    if scanned and not scratch.n_isolated:
        scanned += isolate_folios(node, scratch, nr_to_scan)
    if scanned:
        try_to_inc_min_seq(addr(node.lrugen))
    return scanned


@kernel
def evict_folios(node: Ptr[Node], mm: Ptr[Mm], nr_to_scan: u64) -> tuple[u64, u64]:
    """One batch from the oldest generation.

    Returns
    -------
    folios looked at and generations left behind, 0 if there is no use in going on; frames freed
    """
    scratch = addr(node.scratch[smp_processor_id()])
    spin_lock(node.lrugen.lru_lock)
    if MGLRU_WORKINGSET:
        scanned = isolate_asked(node, scratch, nr_to_scan)
    else:
        scanned = isolate_folios(node, scratch, nr_to_scan)
        if try_to_inc_min_seq(addr(node.lrugen)):
            scanned += 1
        if get_nr_gens(addr(node.lrugen)) == MIN_NR_GENS:
            scanned = 0
    spin_unlock(node.lrugen.lru_lock)
    return scanned, shrink_isolated(node, mm, scratch)


@kernel
def run_eviction(node: Ptr[Node], mm: Ptr[Mm], nr_to_reclaim: u64) -> u64:
    """Free about ``nr_to_reclaim`` frames without aging, as debugfs does; returns how many.

    Where the LRU asks no notifiers (Linux 6.1) such an eviction does not look around: anonymous
    pages count as not swappable to it until an aging walk says otherwise.
    """
    scratch = addr(node.scratch[smp_processor_id()])
    scratch.alone = 0 if MGLRU_NOTIFIERS else 1
    lru_add_drain(node)
    seq = READ_ONCE(node.lrugen.max_seq) - MIN_NR_GENS
    freed: u64 = 0
    while freed < nr_to_reclaim and READ_ONCE(node.lrugen.min_seq) <= seq:
        scanned, n = evict_folios(node, mm, nr_to_reclaim - freed)
        freed += n
        if not scanned:
            break
    scratch.alone = 0
    return freed


@kernel
def wait_for_aging(node: Ptr[Node], max_seq: u64) -> None:
    """Until the walk that somebody else is at has opened a generation."""
    while spin_is_locked(node.lrugen.aging_lock) and not READ_ONCE(node.stop):
        if READ_ONCE(node.lrugen.max_seq) != max_seq:
            break
        cpu_relax()


@kernel
def shrink_node(node: Ptr[Node], mm: Ptr[Mm], nr_to_reclaim: u64) -> u64:
    """Free about ``nr_to_reclaim`` frames; returns how many. Gives up after four agings.

    Call with no lock held and outside guest mode.
    """
    lru_add_drain(node)
    freed: u64 = 0
    agings: u64 = 0
    tries: u64 = 0
    while freed < nr_to_reclaim and tries < MAX_NR_GENS * MIN_LRU_BATCH:
        tries += 1
        if READ_ONCE(node.stop):
            break
        _scanned, n = evict_folios(node, mm, nr_to_reclaim - freed)
        freed += n
        max_seq = READ_ONCE(node.lrugen.max_seq)
        if freed < nr_to_reclaim and get_nr_gens(addr(node.lrugen)) <= MIN_NR_GENS:
            if agings == MAX_NR_GENS:
                break
            if not try_to_inc_max_seq(mm, max_seq, 0):
                wait_for_aging(node, max_seq)
            agings += 1
    return freed
