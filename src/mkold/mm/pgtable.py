"""The host page table: finding, reading and changing its entries.

Rules
-----
* ``pmd[t]`` points at table ``t``, published with release once the table is zeroed; a
  table lives as long as the process.
* An entry changes only under its table's lock (``ptl``); it is read without, so entries
  are accessed with READ_ONCE, WRITE_ONCE or an atomic.
* The host's own entry has its own accessed bit. A fault sets it; a guest's access sets
  the bit of the secondary entry only.

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
    smp_load_acquire,
    smp_store_release,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.mm_types import (
    CACHE_LINE,
    PTE_ACCESSED,
    PTE_PFN_MASK,
    PTE_PFN_SHIFT,
    PTE_TABLE_SHIFT,
    Mm,
)


@kernel
def pte_pfn(pte: u64) -> u64:
    """Frame number of a present entry."""
    return (pte & PTE_PFN_MASK) >> PTE_PFN_SHIFT


@kernel
def vma_contains(mm: Ptr[Mm], page: u64) -> bool:
    """Whether ``page`` lies in the VMA."""
    return page - mm.vma_start < mm.vma_pages


@kernel
def pte_lockptr(mm: Ptr[Mm], page: u64) -> Ptr[u64]:
    """The lock of the table that maps ``page``."""
    return mm.ptl + (((page - mm.vma_start) >> PTE_TABLE_SHIFT) * CACHE_LINE)


@kernel
def pte_offset(mm: Ptr[Mm], page: u64) -> Ptr[u64]:
    """The entry of ``page``; NULL where there is no table yet."""
    index = page - mm.vma_start
    table = cast(Ptr[u64], smp_load_acquire(mm.pmd[index >> PTE_TABLE_SHIFT]))
    if table == NULL:
        return NULL
    return table + (index & ((1 << PTE_TABLE_SHIFT) - 1))


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
        table = mm.next_table
        mm.next_table = table + (1 << PTE_TABLE_SHIFT)
        smp_store_release(slot.value, table)
    spin_unlock(mm.page_table_lock)
    return pte_offset(mm, page)


@kernel
def ptep_test_and_clear_young(ptep: Ptr[u64]) -> bool:
    """Clear the host's own accessed bit; whether it was set."""
    if not READ_ONCE(ptep.value) & PTE_ACCESSED:
        return False
    return (atomic_fetch_andnot_relaxed(ptep.value, PTE_ACCESSED) & PTE_ACCESSED) != 0


@kernel
def set_pte(ptep: Ptr[u64], pte: u64) -> None:
    """Store an entry; caller holds its ``ptl``."""
    WRITE_ONCE(ptep.value, pte)
