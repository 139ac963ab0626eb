"""The host page table: finding, reading and changing its entries.

Rules
-----
* ``pmd[t]`` points at table ``t``, published with release once the table is zeroed; a
  table lives as long as the process. A huge entry may stand in its place (``mm/huge``), and
  then the table is kept in a word beside its lock.
* An entry changes only under its table's lock (``ptl``); it is read without, so entries
  are accessed with READ_ONCE, WRITE_ONCE or an atomic.
* The host's own entry has its own accessed bit. A fault sets it; a guest's access sets
  the bit of the secondary entry only.
* An entry that points at a table has one too, which the process's own access sets as the
  hardware walks through it, and a new table begins with; a fault on behalf of a guest does
  not. It is kept where ``HW_PMD_YOUNG`` is 1, in a word beside the table's lock.

Source: include/linux/pgtable.h, mm/memory.c (__pte_alloc).
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    atomic_fetch_andnot_relaxed,
    cast,
    kernel,
    parameter,
    smp_load_acquire,
    smp_store_release,
    spin_lock,
    spin_unlock,
    u64,
    xchg,
)
from mkold.mm.mm_types import (
    CACHE_LINE,
    PTE_ACCESSED,
    PTE_PFN_MASK,
    PTE_PFN_SHIFT,
    PTE_TABLE_SHIFT,
    TRANSPARENT_HUGEPAGE,
    VM_LOCKED,
    Mm,
)

# Whether the hardware sets accessed bits of entries that point at tables (x86 does).
HW_PMD_YOUNG = parameter("HW_PMD_YOUNG", 0)

# Whether the hardware sets accessed bits of the host's own entries.
HW_PTE_YOUNG = parameter("HW_PTE_YOUNG", 1)


@kernel
def pte_pfn(pte: u64) -> u64:
    """Frame number of a present entry."""
    return (pte & PTE_PFN_MASK) >> PTE_PFN_SHIFT


@kernel
def vma_is_locked(mm: Ptr[Mm], page: u64) -> bool:
    """Whether ``page`` lies in the VMA that is locked: no list of the LRU has it."""
    return VM_LOCKED and page - mm.locked_start < mm.locked_pages


@kernel
def vma_contains(mm: Ptr[Mm], page: u64) -> bool:
    """Whether ``page`` lies in a VMA."""
    return page - mm.vma_start < mm.vma_pages or vma_is_locked(mm, page)


@kernel
def pte_lockptr(mm: Ptr[Mm], page: u64) -> Ptr[u64]:
    """The lock of the table that maps ``page``."""
    return mm.ptl + (((page - mm.vma_start) >> PTE_TABLE_SHIFT) * CACHE_LINE)


@kernel
def pmd_accessed(mm: Ptr[Mm], index: u64) -> Ptr[u64]:
    """The accessed bit of the entry that points at table ``index``."""
    return mm.ptl + (index * CACHE_LINE + 1)


@kernel
def pmd_mkyoung(mm: Ptr[Mm], page: u64) -> None:
    """The hardware walked through the table of ``page`` for the process, or it is new."""
    if HW_PMD_YOUNG:
        WRITE_ONCE(pmd_accessed(mm, (page - mm.vma_start) >> PTE_TABLE_SHIFT).value, 1)


@kernel
def pmdp_test_and_clear_young(mm: Ptr[Mm], index: u64) -> bool:
    """Clear the accessed bit of the entry that points at table ``index``; whether it was
    set."""
    return xchg(pmd_accessed(mm, index).value, 0) != 0


@kernel
def pmd_offset(mm: Ptr[Mm], page: u64) -> Ptr[u64]:
    """The entry above the table of ``page``."""
    return addr(mm.pmd[(page - mm.vma_start) >> PTE_TABLE_SHIFT])


@kernel
def pmd_trans_huge(pmd: u64) -> bool:
    """Whether that entry maps all of the table's pages itself."""
    return TRANSPARENT_HUGEPAGE and pmd >> 63 != 0


@kernel
def pte_offset(mm: Ptr[Mm], page: u64) -> Ptr[u64]:
    """The entry of ``page``; NULL where there is no table yet, or a huge entry."""
    index = page - mm.vma_start
    table = cast(Ptr[u64], smp_load_acquire(mm.pmd[index >> PTE_TABLE_SHIFT]))
    if table == NULL:
        return NULL
    if TRANSPARENT_HUGEPAGE and cast(u64, table) >> 63:
        return NULL
    return table + (index & ((1 << PTE_TABLE_SHIFT) - 1))


@kernel
def find_host_pte(mm: Ptr[Mm], page: u64) -> Ptr[u64]:
    """The entry that maps ``page``, be it a table's or a huge one; NULL where there is none."""
    if TRANSPARENT_HUGEPAGE and pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)):
        return pmd_offset(mm, page)
    return pte_offset(mm, page)


@kernel
def mapped_pfn(mm: Ptr[Mm], page: u64, pte: u64) -> u64:
    """Frame number of ``page``, which ``pte`` maps, as ``find_host_pte`` found it."""
    if TRANSPARENT_HUGEPAGE and pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)):
        return pte_pfn(pte) + ((page - mm.vma_start) & ((1 << PTE_TABLE_SHIFT) - 1))
    return pte_pfn(pte)


@kernel
def pte_deposited(mm: Ptr[Mm], page: u64) -> Ptr[u64]:
    """Where the table of ``page``'s area is kept while a huge entry stands in its place."""
    return mm.ptl + (((page - mm.vma_start) >> PTE_TABLE_SHIFT) * CACHE_LINE + 2)


@kernel
def pte_deposit(mm: Ptr[Mm], page: u64, table: u64) -> None:
    """Keep an empty table that a huge entry is to take the place of."""
    pte_deposited(mm, page).value = table


@kernel
def pte_alloc_one(mm: Ptr[Mm], page: u64) -> u64:
    """A table for the area of ``page``: the one kept, or a new one, which are zeroed both.
    Caller holds ``page_table_lock``."""
    if TRANSPARENT_HUGEPAGE and pte_deposited(mm, page).value:
        kept = pte_deposited(mm, page).value
        pte_deposit(mm, page, 0)
        return kept
    table = mm.next_table
    mm.next_table = table + (1 << PTE_TABLE_SHIFT)
    return cast(u64, table)


@kernel
def pte_alloc(mm: Ptr[Mm], page: u64) -> Ptr[u64]:
    """The entry of ``page``, with its table made if need be.

    Tables come zeroed from the area that ``mm_init`` was given, in the order of need.
    """
    ptep = pte_offset(mm, page)
    if ptep != NULL:
        return ptep
    spin_lock(mm.page_table_lock)
    slot = addr(mm.pmd[(page - mm.vma_start) >> PTE_TABLE_SHIFT])
    if not READ_ONCE(slot.value):
        table = pte_alloc_one(mm, page)
        pmd_mkyoung(mm, page)
        smp_store_release(slot.value, table)
    spin_unlock(mm.page_table_lock)
    return pte_offset(mm, page)


@kernel
def __ptep_test_and_clear_young(ptep: Ptr[u64]) -> bool:
    """Clear an entry's own accessed bit; whether it was set."""
    if not READ_ONCE(ptep.value) & PTE_ACCESSED:
        return False
    return (atomic_fetch_andnot_relaxed(ptep.value, PTE_ACCESSED) & PTE_ACCESSED) != 0


@kernel
def set_pte(ptep: Ptr[u64], pte: u64) -> None:
    """Store an entry; caller holds its ``ptl``."""
    WRITE_ONCE(ptep.value, pte)
