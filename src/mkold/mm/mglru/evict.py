"""Eviction: frames of the oldest generation go to swap until enough are free.

Rules
-----
* Only generations older than the two youngest are evicted from; when there is none,
  aging comes first, by whoever needs the frame; if somebody else is at it, wait for that.
* From the tail of the oldest list, under ``lru_lock``: a folio whose number changed is
  sorted to the list it belongs to; others are isolated, up to 64. Then, without
  the lock, each is asked for accesses (a second chance if there were any), unmapped,
  written and freed.
* A folio kept goes to the youngest generation.

Source: mm/vmscan.c (evict_folios, scan_folios, sort_folio, shrink_folio_list).
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
from mkold.mm.list import list_add, list_del, list_empty
from mkold.mm.mglru.generations import (
    folio_lru_gen,
    get_nr_gens,
    lru_gen_add_folio,
    lru_gen_del_folio,
    lru_gen_from_seq,
    try_to_inc_min_seq,
)
from mkold.mm.mglru.look_around import folio_referenced
from mkold.mm.mglru.walk import try_to_inc_max_seq
from mkold.mm.mm_types import (
    AGING_NONE,
    MAX_NR_GENS,
    MIN_LRU_BATCH,
    MIN_NR_GENS,
    NO_INDEX,
    Folio,
    Mm,
    Node,
    Scratch,
)
from mkold.mm.rmap import folio_pfn, try_to_unmap


@kernel
def isolate_folios(node: Ptr[Node], scratch: Ptr[Scratch]) -> None:
    """Fill ``scratch.isolated`` from the oldest generation; sorts what it meets.

    Caller holds ``lru_lock`` and there are more than MIN_NR_GENS generations.
    """
    lrugen = addr(node.lrugen)
    gen = lru_gen_from_seq(lrugen.min_seq)
    head = addr(lrugen.lists[gen])
    scratch.n_isolated = 0
    scanned: u64 = 0
    while scratch.n_isolated < MIN_LRU_BATCH and scanned < 8 * MIN_LRU_BATCH:
        if list_empty(head):
            break
        scanned += 1
        folio = cast(Ptr[Folio], head.prev)
        now = folio_lru_gen(folio)
        if now != gen:
            list_del(addr(folio.lru))
            list_add(addr(folio.lru), addr(lrugen.lists[now]))
        elif lru_gen_del_folio(lrugen, folio):
            scratch.isolated[scratch.n_isolated] = folio
            scratch.n_isolated += 1


@kernel
def shrink_folio(node: Ptr[Node], mm: Ptr[Mm], folio: Ptr[Folio]) -> bool:
    """Free one isolated folio; False if it was used and should stay."""
    if node.lrugen.mode != AGING_NONE and folio_referenced(mm, folio):
        node.events[smp_processor_id()].rotated += 1
        return False
    if try_to_unmap(node, mm, folio):
        node.events[smp_processor_id()].pswpout += 1
    free_folio(node, folio_pfn(node, folio))
    return True


@kernel
def putback_folios(node: Ptr[Node], scratch: Ptr[Scratch]) -> None:
    """Return kept folios to the youngest generation; free those unmapped meanwhile."""
    n_gone: u64 = 0
    spin_lock(node.lrugen.lru_lock)
    for i in range(scratch.n_isolated):
        folio = cast(Ptr[Folio], scratch.isolated[i])
        if READ_ONCE(folio.index) == NO_INDEX:
            scratch.isolated[n_gone] = folio
            n_gone += 1
        else:
            lru_gen_add_folio(addr(node.lrugen), folio)
    spin_unlock(node.lrugen.lru_lock)
    for i in range(n_gone):
        free_folio(node, folio_pfn(node, cast(Ptr[Folio], scratch.isolated[i])))


@kernel
def evict_folios(node: Ptr[Node], mm: Ptr[Mm]) -> u64:
    """One batch from the oldest generation; returns frames freed."""
    scratch = addr(node.scratch[smp_processor_id()])
    spin_lock(node.lrugen.lru_lock)
    try_to_inc_min_seq(addr(node.lrugen))
    scratch.n_isolated = 0
    if get_nr_gens(addr(node.lrugen)) > MIN_NR_GENS:
        isolate_folios(node, scratch)
        try_to_inc_min_seq(addr(node.lrugen))
    spin_unlock(node.lrugen.lru_lock)
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
    freed: u64 = 0
    agings: u64 = 0
    tries: u64 = 0
    while freed < nr_to_reclaim and tries < MAX_NR_GENS * MIN_LRU_BATCH:
        tries += 1
        if READ_ONCE(node.stop):
            break
        freed += evict_folios(node, mm)
        max_seq = READ_ONCE(node.lrugen.max_seq)
        if freed < nr_to_reclaim and get_nr_gens(addr(node.lrugen)) <= MIN_NR_GENS:
            if agings == MAX_NR_GENS:
                break
            if not try_to_inc_max_seq(mm, max_seq, 0):
                wait_for_aging(node, max_seq)
            agings += 1
    return freed
