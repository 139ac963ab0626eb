"""A large folio becomes ``HPAGE_PMD_NR`` folios of one frame: ``split_folio``.

Rules
-----
* Secondary entries of all its pages go, whether mapped or not. The process's entries stay
  as they were, young and dirty bits too; a huge one gives way to a table, a folded block is
  unfolded.
* The small folios stand in the same generation. Frames that nothing maps are freed.
* With ``SPLIT_ZERO_PAGES`` 1 (since Linux 6.12) a page that has nothing but zeros maps the
  shared zero page from then on, young and read-only, and its frame is freed.
* A migration entry stands in the place of each meanwhile. On arm64 its accessed bit is bit
  ``MAX_PHYSMEM_BITS``, behind the frame's number; with addresses of 52 bits (LPA2) that is
  where a valid entry has PTE_CONT, which ``set_ptes`` takes out of all that it stores where
  the kernel folds blocks (``mm/contpte.py``). So pages that keep their frames are old then.

Source: mm/huge_memory.c (split_huge_page_to_list, __split_huge_page_tail), mm/rmap.c
(try_to_migrate_one), mm/migrate.c (remove_migration_pte, try_to_map_unused_to_zeropage).
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
from mkold.mm.contpte import CONTPTE, contpte_try_unfold, ptep_test_and_clear_young
from mkold.mm.frames import free_folio
from mkold.mm.huge.pmd import __split_huge_pmd_locked
from mkold.mm.large_folio import HPAGE_PMD_NR, folio_test_large
from mkold.mm.mglru.generations import (
    NO_GEN,
    folio_lru_gen,
    lru_add_page_tail,
    lru_gen_del_folio,
)
from mkold.mm.mm_types import (
    FOLIO_GEN_MASK,
    NO_INDEX,
    PAGE_SHIFT,
    PTE_ACCESSED,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    PTE_READ,
    Folio,
    Mm,
)
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
    set_pte,
)
from mkold.mm.rmap import folio_pfn, pfn_folio

# Whether a page of zeros maps the shared zero page when its folio is split.
SPLIT_ZERO_PAGES = parameter("SPLIT_ZERO_PAGES", 0)

# How long a physical address is, as the processor says.
MAX_PHYSMEM_BITS = parameter("MAX_PHYSMEM_BITS", 48)

# Whether a migration entry's accessed bit is lost: it is arm64's bit 52.
MIGRATION_MAKES_OLD = CONTPTE & (MAX_PHYSMEM_BITS == 52)


@kernel
def frame_is_mapped(mm: Ptr[Mm], page: u64, pfn: u64) -> bool:
    """Whether the process's table maps ``pfn`` at ``page``."""
    ptep = pte_offset(mm, page)
    if ptep == NULL:
        return False
    pte = READ_ONCE(ptep.value)
    return (pte & PTE_PRESENT) != 0 and pte_pfn(pte) == pfn


@kernel
def contains_data(pfn: u64) -> bool:
    """Whether a frame has anything but zeros."""
    words = cast(Ptr[u64], pfn << PAGE_SHIFT)
    data: u64 = 0
    for i in range(1 << PAGE_SHIFT):
        data |= READ_ONCE(words[i])
    return data != 0


@kernel
def try_to_map_unused_to_zeropage(mm: Ptr[Mm], page: u64, pfn: u64) -> bool:
    """Let ``page`` map the shared zero page in the place of ``pfn``, if that has zeros alone;
    caller holds the lock of its table."""
    if not SPLIT_ZERO_PAGES or contains_data(pfn):
        return False
    bits: u64 = PTE_PRESENT | PTE_READ | PTE_ACCESSED
    set_pte(pte_offset(mm, page), bits | (mm.node.zero_pfn << PTE_PFN_SHIFT))
    return True


@kernel
def split_frames(mm: Ptr[Mm], first: u64, page: u64, gen: u64, flags: u64) -> None:
    """Each frame from ``first`` on is a folio, mapped from ``page`` on; or freed."""
    node = mm.node
    for i in range(HPAGE_PMD_NR):
        folio = node.folios + (first + i - node.start_pfn)
        folio.head = 0
        WRITE_ONCE(folio.flags, flags)
        WRITE_ONCE(folio.index, NO_INDEX)
        if CONTPTE:
            contpte_try_unfold(pte_offset(mm, page + i))
        mapped = frame_is_mapped(mm, page + i, first + i)
        if not mapped or try_to_map_unused_to_zeropage(mm, page + i, first + i):
            free_folio(node, first + i)
        else:
            WRITE_ONCE(folio.index, page + i)
            if MIGRATION_MAKES_OLD:
                ptep_test_and_clear_young(pte_offset(mm, page + i))
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
