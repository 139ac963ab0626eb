"""A large folio becomes ``HPAGE_PMD_NR`` folios of one frame: ``split_folio``.

Rules
-----
* Secondary entries of all its pages go, whether mapped or not. The process's entries stay
  as they were, young and dirty bits too; a huge one gives way to a table.
* The small folios stand in the same generation. Frames that nothing maps are freed.

Source: mm/huge_memory.c (split_huge_page_to_list, __split_huge_page_tail), mm/rmap.c
(try_to_migrate_one), mm/migrate.c (remove_migration_pte).
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    kernel,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.frames import free_folio
from mkold.mm.huge.pmd import __split_huge_pmd_locked
from mkold.mm.large_folio import HPAGE_PMD_NR, folio_test_large
from mkold.mm.mglru.generations import (
    NO_GEN,
    folio_lru_gen,
    lru_add_page_tail,
    lru_gen_del_folio,
)
from mkold.mm.mm_types import FOLIO_GEN_MASK, NO_INDEX, PTE_PRESENT, Folio, Mm
from mkold.mm.mmu_notifier import (
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from mkold.mm.pgtable import (
    find_host_pte,
    pmd_offset,
    pmd_trans_huge,
    pte_lockptr,
    pte_offset,
    pte_pfn,
)
from mkold.mm.rmap import folio_pfn, pfn_folio


@kernel
def frame_is_mapped(mm: Ptr[Mm], page: u64, pfn: u64) -> bool:
    """Whether the process's table maps ``pfn`` at ``page``."""
    ptep = pte_offset(mm, page)
    if ptep == NULL:
        return False
    pte = READ_ONCE(ptep.value)
    return (pte & PTE_PRESENT) != 0 and pte_pfn(pte) == pfn


@kernel
def split_frames(mm: Ptr[Mm], first: u64, page: u64, gen: u64, flags: u64) -> None:
    """Each frame from ``first`` on is a folio, mapped from ``page`` on; or freed."""
    node = mm.node
    for i in range(HPAGE_PMD_NR):
        folio = node.folios + (first + i - node.start_pfn)
        folio.head = 0
        WRITE_ONCE(folio.flags, flags)
        WRITE_ONCE(folio.index, NO_INDEX)
        if not frame_is_mapped(mm, page + i, first + i):
            free_folio(node, first + i)
        else:
            WRITE_ONCE(folio.index, page + i)
            if gen != NO_GEN:
                spin_lock(node.lrugen.lru_lock)
                lru_add_page_tail(addr(node.lrugen), folio, gen)
                spin_unlock(node.lrugen.lru_lock)


@kernel
def split_folio(mm: Ptr[Mm], folio: Ptr[Folio]) -> None:
    """Split a large folio that ``mm`` maps."""
    node = mm.node
    page = folio.index
    first = folio_pfn(node, folio)
    mmu_notifier_invalidate_range_start(mm, page, page + HPAGE_PMD_NR)
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    if pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)):
        __split_huge_pmd_locked(mm, page)
    spin_lock(node.lrugen.lru_lock)
    gen = folio_lru_gen(folio)
    lru_gen_del_folio(addr(node.lrugen), folio)
    spin_unlock(node.lrugen.lru_lock)
    split_frames(mm, first, page, gen, READ_ONCE(folio.flags) & ~FOLIO_GEN_MASK)
    spin_unlock(ptl.value)
    mmu_notifier_invalidate_range_end(mm, page, page + HPAGE_PMD_NR)


@kernel
def split_folio_of(mm: Ptr[Mm], page: u64) -> None:
    """Split the folio that ``page`` maps, if it is a large one."""
    ptep = find_host_pte(mm, page)
    if ptep == NULL:
        return
    pte = READ_ONCE(ptep.value)
    if (pte & PTE_PRESENT) and pte_pfn(pte) != mm.node.zero_pfn:
        folio = pfn_folio(mm.node, pte_pfn(pte))
        if folio_test_large(folio):
            split_folio(mm, folio)
