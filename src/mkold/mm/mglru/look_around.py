"""Eviction asks whether a folio was used, and looks at its neighbours while there.

Rules
-----
* The folio's own page is asked for alone first, clearing its bits. The slow path may
  answer that.
* Neighbours are looked at only if the page is young and that is cheap: in *lockless* mode
  when the answer came without a lock or from the host's own bit; in *locked* mode always,
  unless the LRU asks no notifiers (``MGLRU_NOTIFIERS`` 0): then by the host's own bit alone.
* The window is at most 64 pages around the page, inside the VMA and inside one table, and
  is skipped when the table's lock was contended.
* That somebody else cleared the page's bits counts as an access too (``mm/page_idle.py``).
* A window dense in young pages puts its table into the filter of the current walk.

Source: mm/vmscan.c (lru_gen_look_around), mm/rmap.c (folio_referenced_one);
lore 20230526234435.662652-11-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    kernel,
    smp_processor_id,
    spin_lock,
    spin_trylock,
    spin_unlock,
    u64,
)
from mkold.mm.contpte import ptep_test_and_clear_young
from mkold.mm.mglru.bloom import update_bloom_filter
from mkold.mm.mglru.generations import lru_gen_from_seq
from mkold.mm.mglru.young import (
    MGLRU_NOTIFIERS,
    age_batch,
    mark_reported,
    reset_batch_size,
    suitable_to_scan,
)
from mkold.mm.mm_types import (
    AGING_LOCKED,
    FOLIO_REFERENCED,
    MIN_LRU_BATCH,
    NO_INDEX,
    PTE_TABLE_SHIFT,
    Folio,
    Mm,
)
from mkold.mm.mmu_notifier import (
    MMU_NOTIFIER_RANGE_LOCKLESS,
    mmu_notifier_clear_young,
    mmu_notifier_test_clear_young,
)
from mkold.mm.page_idle import PAGE_IDLE_FLAG, folio_clear_idle, folio_test_clear_young
from mkold.mm.pgtable import pte_lockptr, pte_offset
from mkold.mm.tiers import MGLRU_WORKINGSET


@kernel
def look_around_window(mm: Ptr[Mm], page: u64) -> tuple[u64, u64]:
    """At most MIN_LRU_BATCH pages around ``page``, within its table and the VMA."""
    index = page - mm.vma_start
    start: u64 = mm.vma_start + (index & ~((1 << PTE_TABLE_SHIFT) - 1))
    end: u64 = min(start + (1 << PTE_TABLE_SHIFT), mm.vma_start + mm.vma_pages)
    if end - start > MIN_LRU_BATCH:
        if page - start < MIN_LRU_BATCH // 2:
            end = start + MIN_LRU_BATCH
        elif end - page < MIN_LRU_BATCH // 2:
            start = end - MIN_LRU_BATCH
        else:
            start = page - MIN_LRU_BATCH // 2
            end = start + MIN_LRU_BATCH
    return start, end


@kernel
def lru_gen_look_around(mm: Ptr[Mm], page: u64) -> None:
    """Age the window around a page found young; caller holds the table's lock."""
    node = mm.node
    max_seq = READ_ONCE(node.lrugen.max_seq)
    start, end = look_around_window(mm, page)
    young = age_batch(mm, start, end, lru_gen_from_seq(max_seq), page)
    reset_batch_size(node)
    node.events[smp_processor_id()].look_around += 1
    if suitable_to_scan(end - start, young + 1):
        table = READ_ONCE(mm.pmd[(page - mm.vma_start) >> PTE_TABLE_SHIFT])
        update_bloom_filter(addr(node.lrugen), max_seq, table)


@kernel
def folio_referenced_one(mm: Ptr[Mm], page: u64, contended: u64) -> bool:
    """Test and clear one mapped page; look around it if that pays."""
    host = ptep_test_and_clear_young(pte_offset(mm, page))
    cheap: u64 = 1
    guest: u64 = 0
    if mm.node.lrugen.mode == AGING_LOCKED:
        guest = mmu_notifier_clear_young(mm, page, page + 1)
        cheap = MGLRU_NOTIFIERS or host
    else:
        guest = mmu_notifier_test_clear_young(mm, page, page + 1, 1, NULL)
        cheap = host or (guest & MMU_NOTIFIER_RANGE_LOCKLESS) != 0
    if not host and not guest:
        return False
    mark_reported(mm, page)
    alone = mm.node.scratch[smp_processor_id()].alone
    if cheap and not contended and not alone:
        lru_gen_look_around(mm, page)
    return True


@kernel
def folio_referenced(mm: Ptr[Mm], folio: Ptr[Folio]) -> bool:
    """Whether an isolated folio was used since its bits were last cleared."""
    if not MGLRU_WORKINGSET and READ_ONCE(folio.flags) & FOLIO_REFERENCED:
        return True
    page = READ_ONCE(folio.index)
    if page == NO_INDEX:
        return False
    ptl = pte_lockptr(mm, page)
    contended = not spin_trylock(ptl.value)
    if contended:
        spin_lock(ptl.value)
    young: u64 = 0
    if READ_ONCE(folio.index) == page:
        young = folio_referenced_one(mm, page, contended)
        if PAGE_IDLE_FLAG:
            if young:
                folio_clear_idle(folio)
            young |= folio_test_clear_young(folio)
    spin_unlock(ptl.value)
    return young != 0
