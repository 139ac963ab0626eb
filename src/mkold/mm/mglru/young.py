"""Looking at accessed bits in batches: what the aging walk and look-around share.

Rules
-----
* A batch is up to 64 pages of one page table, whose lock the caller holds.
* *lockless*: one batched test through the notifier fills a bitmap, bits of pages that
  nobody wants are dropped, one batched clear ends the batch. Where the fast path can't
  answer, the bitmap stays empty and the pages look idle (eviction asks again, page by
  page, and there the slow path answers).
* Where the kernel has no bitmaps (``AGING_BATCHED`` 0), *lockless* asks the fast path page by
  page.
* ``MGLRU_NOTIFIERS`` 0: the aging walk does not ask the notifiers at all, and a page that the
  guest alone uses looks idle to it (before commit 1d4832becdc2; Linux 6.1 is so).
* *locked*: the notifier is called for each page, which takes ``mmu_lock`` each time.
* The host's own bit is tested and cleared in both. The zero page is left alone.
* Young folios are promoted to ``gen`` by number; counts are handed in once a batch.

Source: mm/vmscan.c (walk_pte_range, lru_gen_look_around); lockless batches:
lore 20230526234435.662652-11-yuzhao@google.com; one call a page: commit 1d4832becdc2
("mm: multi-gen LRU: use {ptep,pmdp}_clear_young_notify()").
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    atomic_add,
    kernel,
    parameter,
    smp_processor_id,
    u64,
)
from mkold.mm.contpte import ptep_test_and_clear_young
from mkold.mm.large_folio import folio_nr_pages
from mkold.mm.mglru.generations import NO_GEN, folio_lru_gen, folio_update_gen
from mkold.mm.mm_types import (
    AGING_LOCKLESS,
    MAX_NR_GENS,
    PTE_PRESENT,
    Mm,
    Node,
    Scratch,
)
from mkold.mm.mmu_notifier import mmu_notifier_clear_young, mmu_notifier_test_clear_young
from mkold.mm.pgtable import pte_offset, pte_pfn
from mkold.mm.rmap import pfn_folio
from mkold.mm.tiers import MGLRU_WORKINGSET

AGING_BATCHED = parameter("AGING_BATCHED", 1)  # whether notifiers take bitmaps
MGLRU_NOTIFIERS = parameter("MGLRU_NOTIFIERS", 1)


@kernel
def clear_young_notify(mm: Ptr[Mm], start: u64, end: u64, ptep: Ptr[u64]) -> bool:
    """Whether the pages that one entry maps were accessed by host or guest; clears both."""
    young = ptep_test_and_clear_young(ptep)
    if not MGLRU_NOTIFIERS:
        return young
    if READ_ONCE(mm.node.lrugen.mode) == AGING_LOCKLESS:
        guest = mmu_notifier_test_clear_young(mm, start, end, 1, NULL)
    else:
        guest = mmu_notifier_clear_young(mm, start, end)
    return young or guest != 0


@kernel
def page_young(mm: Ptr[Mm], page: u64, ptep: Ptr[u64], batched: u64, bit: u64) -> bool:
    """Whether the page was accessed by host or guest; clears what is not batched."""
    if batched:
        return ptep_test_and_clear_young(ptep) or bit != 0
    return clear_young_notify(mm, page, page + 1, ptep)


@kernel
def promote(node: Ptr[Node], scratch: Ptr[Scratch], pfn: u64, gen: u64) -> None:
    """Move a folio to ``gen`` by number, noting the change of counts in ``scratch``."""
    folio = pfn_folio(node, pfn)
    old_gen = folio_update_gen(folio, gen)
    if old_gen != NO_GEN and old_gen != gen:
        scratch.nr_pages[old_gen] -= folio_nr_pages(folio)
        scratch.nr_pages[gen] += folio_nr_pages(folio)


@kernel
def is_aged(node: Ptr[Node], pte: u64) -> bool:
    """Whether an entry maps a frame that the LRU knows; one that eviction holds counts until
    Linux 6.13."""
    if not (pte & PTE_PRESENT) or pte_pfn(pte) == node.zero_pfn:
        return False
    return not MGLRU_WORKINGSET or folio_lru_gen(pfn_folio(node, pte_pfn(pte))) != NO_GEN


@kernel
def mark_reported(mm: Ptr[Mm], page: u64) -> None:
    """Statistics: the host learned that this page is young."""
    if mm.reported != NULL:
        WRITE_ONCE(mm.reported[page - mm.vma_start], 1)


@kernel
def age_batch(mm: Ptr[Mm], start: u64, end: u64, gen: u64, skip: u64) -> u64:
    """Test and clear host pages ``[start, end)``, promoting the young ones to ``gen``.

    Parameters
    ----------
    start, end : host pages, at most 64, in one page table whose lock is held
    skip : a page to leave alone (its age was just asked for), or NO_INDEX

    Returns
    -------
    how many are young
    """
    node = mm.node
    scratch = addr(node.scratch[smp_processor_id()])
    batched = AGING_BATCHED and MGLRU_NOTIFIERS and node.lrugen.mode == AGING_LOCKLESS
    WRITE_ONCE(scratch.bitmap, 0)
    if batched:
        mmu_notifier_test_clear_young(mm, start, end, 0, addr(scratch.bitmap))
    secondary = READ_ONCE(scratch.bitmap)
    wanted: u64 = 0
    young: u64 = 0
    ptep = pte_offset(mm, start)
    for page in range(start, end):
        pte = READ_ONCE(ptep.value)
        if is_aged(node, pte):
            bit: u64 = secondary & (1 << (end - page - 1))
            if page != skip and page_young(mm, page, ptep, batched, bit):
                wanted |= bit
                young += 1
                promote(node, scratch, pte_pfn(pte), gen)
                mark_reported(mm, page)
        ptep = ptep + 1
    if wanted:
        WRITE_ONCE(scratch.bitmap, wanted)
        mmu_notifier_test_clear_young(mm, start, end, 1, addr(scratch.bitmap))
    return young


@kernel
def reset_batch_size(node: Ptr[Node]) -> u64:
    """Hand in this CPU's changes of counts; returns how many folios moved."""
    scratch = addr(node.scratch[smp_processor_id()])
    moved: u64 = 0
    for gen in range(MAX_NR_GENS):
        delta = scratch.nr_pages[gen]
        if delta:
            atomic_add(node.lrugen.nr_pages[gen], delta)
            scratch.nr_pages[gen] = 0
            if delta >> 63 == 0:
                moved += delta
    return moved


@kernel
def suitable_to_scan(total: u64, young: u64) -> bool:
    """Whether of ``total`` entries enough are young: one in a cache line of eight."""
    return young * 8 >= total
