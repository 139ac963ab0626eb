"""Huge entries: a PMD that maps an area by itself, rather than by a table.

Rules
-----
* A fault in an area that has neither table nor huge entry maps a large folio, young, dirty and
  writable even if it is for a read, where all of the area lies in the VMA.
* To split an entry is to put a table in its place whose entries have the frames, and the young
  and dirty bit, of the huge one; the table's own entry is young. Secondary entries of all the
  area go before. The folio stays one.
* What unmaps all of an area takes the entry; what unmaps a part splits it first.
* An entry changes under the lock of its area's table. The table of an area, once there, is
  kept beside that lock while a huge entry stands in its place.

Source: mm/huge_memory.c (do_huge_pmd_anonymous_page, __split_huge_pmd, zap_huge_pmd).
Known limits: no huge zero page. Areas count from ``vma_start``, which is a multiple of their
length. Whoever found an entry in a table does not look again, under the lock, whether a huge
entry took the table's place meanwhile: for one CPU, or no ``MADV_COLLAPSE``.
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    Ptr,
    addr,
    atomic_or,
    cast,
    kernel,
    smp_store_release,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.contpte import CONTPTE
from mkold.mm.large_folio import HPAGE_PMD_NR, folio_test_large
from mkold.mm.large_frames import alloc_huge, free_huge
from mkold.mm.mglru.generations import folio_add_lru, lru_add_drain, lru_gen_del_folio
from mkold.mm.mm_types import (
    NO_INDEX,
    PTE_ACCESSED,
    PTE_CONT,
    PTE_DIRTY,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    PTE_READ,
    PTE_WRITE,
    Folio,
    Mm,
    Node,
)
from mkold.mm.mmu_notifier import (
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from mkold.mm.pgtable import (
    pmd_mkyoung,
    pmd_offset,
    pmd_trans_huge,
    pte_alloc_one,
    pte_lockptr,
    pte_pfn,
    set_pte,
)
from mkold.mm.rmap import folio_pfn, pfn_folio

PMD_YOUNG_WRITE = PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY


@kernel
def area_start(mm: Ptr[Mm], page: u64) -> u64:
    """First page of the area of ``page``."""
    return mm.vma_start + ((page - mm.vma_start) & ~(HPAGE_PMD_NR - 1))


@kernel
def thp_vma_suitable(mm: Ptr[Mm], page: u64) -> bool:
    """Whether all of the area of ``page`` lies in the VMA."""
    return area_start(mm, page) + HPAGE_PMD_NR <= mm.vma_start + mm.vma_pages


@kernel
def set_huge_pmd(mm: Ptr[Mm], page: u64, pfn: u64) -> None:
    """Map the large folio of ``pfn`` over the area of ``page``; caller holds its lock."""
    folio = pfn_folio(mm.node, pfn)
    folio.index = area_start(mm, page)
    folio.mapped = HPAGE_PMD_NR
    smp_store_release(pmd_offset(mm, page).value, PMD_YOUNG_WRITE | (pfn << PTE_PFN_SHIFT))


@kernel
def do_huge_pmd_anonymous_page(mm: Ptr[Mm], page: u64) -> None:
    """The first fault in an area: map it whole, if there is a run of frames."""
    node = mm.node
    pfn = alloc_huge(node)
    if not pfn:
        return
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    mine = READ_ONCE(pmd_offset(mm, page).value) == 0
    if mine:
        set_huge_pmd(mm, page, pfn)
        folio_add_lru(node, pfn_folio(node, pfn), 0, 1)
        lru_add_drain(node)
    spin_unlock(ptl.value)
    if not mine:
        free_huge(node, pfn)


@kernel
def handle_huge_fault(mm: Ptr[Mm], page: u64, write: u64) -> tuple[u64, u64]:
    """The frame of ``page`` where a huge entry maps it, or now does, and whether it may be
    written; 0, 0: it is for a table."""
    slot = pmd_offset(mm, page)
    if READ_ONCE(slot.value) == 0 and thp_vma_suitable(mm, page):
        do_huge_pmd_anonymous_page(mm, page)
    pmd = READ_ONCE(slot.value)
    if not pmd_trans_huge(pmd):
        return 0, 0
    if write and not pmd & PTE_WRITE:
        atomic_or(slot.value, PTE_WRITE | PTE_DIRTY | PTE_ACCESSED)
        pmd |= PTE_WRITE
    return pte_pfn(pmd) + (page - area_start(mm, page)), (pmd & PTE_WRITE) != 0


@kernel
def fill_table(table: Ptr[u64], pmd: u64) -> None:
    """Entries for the frames of a huge one, in folded blocks where there are such."""
    if CONTPTE:
        pmd |= PTE_CONT
    for i in range(HPAGE_PMD_NR):
        table[i] = pmd + (i << PTE_PFN_SHIFT)


@kernel
def __split_huge_pmd_locked(mm: Ptr[Mm], page: u64) -> None:
    """Put a table in the place of the area's huge entry; caller holds its lock, and secondary
    entries are gone."""
    slot = pmd_offset(mm, page)
    pmd = READ_ONCE(slot.value)
    spin_lock(mm.page_table_lock)
    table = pte_alloc_one(mm, page)
    spin_unlock(mm.page_table_lock)
    fill_table(cast(Ptr[u64], table), pmd)
    pmd_mkyoung(mm, page)
    smp_store_release(slot.value, table)


@kernel
def __split_huge_pmd(mm: Ptr[Mm], page: u64) -> None:
    """Let a table map the area of ``page``, if a huge entry does; secondary entries of all of
    it go in any case."""
    start = area_start(mm, page)
    mmu_notifier_invalidate_range_start(mm, start, start + HPAGE_PMD_NR)
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    if pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)):
        __split_huge_pmd_locked(mm, page)
    spin_unlock(ptl.value)
    mmu_notifier_invalidate_range_end(mm, start, start + HPAGE_PMD_NR)


@kernel
def split_huge_pmd(mm: Ptr[Mm], page: u64) -> None:
    """``__split_huge_pmd`` where a huge entry maps ``page``."""
    if pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)):
        __split_huge_pmd(mm, page)


@kernel
def large_folio_unmap(node: Ptr[Node], folio: Ptr[Folio], n: u64) -> None:
    """``n`` frames of a large folio are mapped no more; caller holds the lock of its area."""
    folio.mapped -= n
    if folio.mapped == 0:
        spin_lock(node.lrugen.lru_lock)
        lru_gen_del_folio(addr(node.lrugen), folio)
        folio.index = NO_INDEX
        spin_unlock(node.lrugen.lru_lock)
        free_huge(node, folio_pfn(node, folio))


@kernel
def zap_huge_pmd(mm: Ptr[Mm], page: u64) -> None:
    """Empty the area's huge entry; a fault finds neither table nor entry."""
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    slot = pmd_offset(mm, page)
    pmd = READ_ONCE(slot.value)
    if pmd_trans_huge(pmd):
        set_pte(slot, 0)
        large_folio_unmap(mm.node, pfn_folio(mm.node, pte_pfn(pmd)), HPAGE_PMD_NR)
    spin_unlock(ptl.value)


@kernel
def zap_or_split_huge_pmd(mm: Ptr[Mm], page: u64, start: u64, end: u64) -> None:
    """A huge entry of ``page`` goes where ``[start, end)`` has all of its area, and is split
    elsewhere."""
    if pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)):
        first = area_start(mm, page)
        if start <= first and first + HPAGE_PMD_NR <= end:
            zap_huge_pmd(mm, page)
        else:
            split_huge_pmd(mm, page)


@kernel
def large_folio_zapped(node: Ptr[Node], pte: u64) -> bool:
    """Whether ``pte``, emptied just now, mapped a frame of a large folio; which has one mapped
    frame less. Caller holds the lock of its table."""
    folio = pfn_folio(node, pte_pfn(pte))
    if not folio_test_large(folio):
        return False
    large_folio_unmap(node, folio, 1)
    return True
