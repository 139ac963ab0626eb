"""``madvise``: pages are dropped (``MADV_DONTNEED``), or go to swap (``MADV_PAGEOUT``).

Host and secondary entries go alike. A folio that eviction has isolated stays eviction's to
free (see ``mkold.mm.rmap``). A page that is to go out is not asked whether it is young; with
``PAGEOUT_REFERENCES`` 1 it is, as in Linux 6.1: one that the guest used stays, not young any
more, in the second youngest generation. The host's own bit is cleared before and counts not.
A large folio is split before a page of it goes to swap. With ``PT_RECLAIM`` 1 (x86 since Linux
6.14) a table that ``MADV_DONTNEED`` went through whole, and that is empty then, is given back,
so that the next fault may map all of its area.

Source: mm/madvise.c, mm/memory.c (zap_pte_range), mm/vmscan.c (reclaim_pages).
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    parameter,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.contpte import contpte_try_unfold, ptep_test_and_clear_young
from mkold.mm.frames import free_folio
from mkold.mm.huge.pmd import area_start, large_folio_zapped, zap_or_split_huge_pmd
from mkold.mm.huge.split import split_folio_of
from mkold.mm.large_folio import HPAGE_PMD_NR
from mkold.mm.mglru.generations import (
    lru_add_drain,
    lru_gen_add_folio,
    lru_gen_del_folio,
)
from mkold.mm.mm_types import (
    FOLIO_REFERENCED,
    FOLIO_YOUNG,
    NO_INDEX,
    PTE_PRESENT,
    TRANSPARENT_HUGEPAGE,
    Folio,
    Mm,
    Node,
)
from mkold.mm.mmu_notifier import (
    mmu_notifier_clear_flush_young,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from mkold.mm.pgtable import (
    pmd_offset,
    pte_deposit,
    pte_lockptr,
    pte_offset,
    pte_pfn,
    set_pte,
)
from mkold.mm.rmap import folio_pfn, pfn_folio, try_to_unmap
from mkold.mm.tiers import set_mask_bits

PAGEOUT_REFERENCES = parameter("PAGEOUT_REFERENCES", 0)

# Whether empty tables are given back; without huge pages it can't be seen, and is not done.
PT_RECLAIM = parameter("PT_RECLAIM", 0)


@kernel
def zap_present(node: Ptr[Node], pte: u64) -> None:
    """The entry ``pte``, emptied just now, maps its folio no more; caller holds its lock."""
    if TRANSPARENT_HUGEPAGE and large_folio_zapped(node, pte):
        return
    folio = pfn_folio(node, pte_pfn(pte))
    spin_lock(node.lrugen.lru_lock)
    mine = lru_gen_del_folio(addr(node.lrugen), folio)
    WRITE_ONCE(folio.index, NO_INDEX)
    spin_unlock(node.lrugen.lru_lock)
    if mine:
        free_folio(node, pte_pfn(pte))


@kernel
def zap_pte(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> None:
    """Empty one entry; its frame is freed here, or by whoever has isolated it."""
    node = mm.node
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    contpte_try_unfold(ptep)
    pte = READ_ONCE(ptep.value)
    set_pte(ptep, 0)
    if (pte & PTE_PRESENT) and pte_pfn(pte) != node.zero_pfn:
        zap_present(node, pte)
    spin_unlock(ptl.value)


@kernel
def went_through_area(mm: Ptr[Mm], page: u64, start: u64) -> bool:
    """Whether ``page`` is the last one of its area, and the area began behind ``start``."""
    first = area_start(mm, page)
    return first >= start and page + 1 == first + HPAGE_PMD_NR


@kernel
def try_to_free_pte(mm: Ptr[Mm], page: u64) -> None:
    """Give the table of the area of ``page`` back, if there is one, and it is empty."""
    table = pte_offset(mm, area_start(mm, page))
    if table == NULL:
        return
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    used: u64 = 0
    for i in range(HPAGE_PMD_NR):
        used |= READ_ONCE(table[i])
    if not used:
        set_pte(pmd_offset(mm, page), 0)
        pte_deposit(mm, page, cast(u64, table))
    spin_unlock(ptl.value)


@kernel
def madvise_dontneed(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """Drop pages ``[start, end)``, host and secondary entries alike; they read as zero."""
    mmu_notifier_invalidate_range_start(mm, start, end)
    for page in range(start, end):
        if TRANSPARENT_HUGEPAGE:
            zap_or_split_huge_pmd(mm, page, start, end)
        ptep = pte_offset(mm, page)
        if ptep != NULL:
            zap_pte(mm, page, ptep)
        if TRANSPARENT_HUGEPAGE and PT_RECLAIM and went_through_area(mm, page, start):
            try_to_free_pte(mm, page)
    mmu_notifier_invalidate_range_end(mm, start, end)


@kernel
def putback_used(node: Ptr[Node], page: u64, folio: Ptr[Folio]) -> bool:
    """Put an isolated folio back; False if ``page`` does not map it any more."""
    spin_lock(node.lrugen.lru_lock)
    mapped = READ_ONCE(folio.index) == page
    if mapped:
        lru_gen_add_folio(addr(node.lrugen), folio, 0)
    spin_unlock(node.lrugen.lru_lock)
    return mapped


@kernel
def reclaim_isolated(mm: Ptr[Mm], page: u64, folio: Ptr[Folio]) -> None:
    """Unmap and free an isolated folio that ``page`` mapped, or put it back."""
    node = mm.node
    used = PAGEOUT_REFERENCES and mmu_notifier_clear_flush_young(mm, page, page + 1)
    if used and putback_used(node, page, folio):
        return
    try_to_unmap(node, mm, folio)
    free_folio(node, folio_pfn(node, folio))


@kernel
def pageout_page(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> None:
    """Send one page to swap, if it is there and nobody else has isolated it."""
    node = mm.node
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    pte = READ_ONCE(ptep.value)
    mine: u64 = 0
    if (pte & PTE_PRESENT) and pte_pfn(pte) != node.zero_pfn:
        spin_lock(node.lrugen.lru_lock)
        folio = pfn_folio(node, pte_pfn(pte))
        set_mask_bits(folio, FOLIO_REFERENCED | FOLIO_YOUNG, 0)
        mine = lru_gen_del_folio(addr(node.lrugen), folio)
        ptep_test_and_clear_young(ptep)
        spin_unlock(node.lrugen.lru_lock)
    spin_unlock(ptl.value)
    if mine:
        reclaim_isolated(mm, page, pfn_folio(node, pte_pfn(pte)))


@kernel
def madvise_pageout(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """Send pages ``[start, end)`` to swap, young or not."""
    lru_add_drain(mm.node)
    for page in range(start, end):
        if TRANSPARENT_HUGEPAGE:
            split_folio_of(mm, page)
        ptep = pte_offset(mm, page)
        if ptep != NULL:
            pageout_page(mm, page, ptep)
