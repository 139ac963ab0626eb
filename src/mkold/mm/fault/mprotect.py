"""``mprotect(PROT_READ)``: pages stay, and may no longer be written; and back.

What allows writing again needs no code of its own: the next write is a fault, which finds the
page's own frame and makes the entry writable (``do_wp_page``). ``PROT_WRITE`` makes what is the
process's own writable at once, as it is nobody else's. A huge entry is changed as one if all of
its area is, and split if a part is. With ``MPROTECT_YOUNG`` 1 (POWER, whose ``pte_modify``
takes the accessed bit of the new protection too) what is changed is young.

Source: mm/mprotect.c (change_pte_range), arch/powerpc/include/asm/book3s/64/pgtable.h.
Known limits: there is no permission of the VMA; a write in between is allowed by its fault.
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    atomic_fetch_andnot_relaxed,
    atomic_or,
    kernel,
    parameter,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.huge.pmd import __split_huge_pmd, area_start, thp_vma_suitable
from mkold.mm.mm_types import PTE_ACCESSED, PTE_PRESENT, PTE_WRITE, TRANSPARENT_HUGEPAGE, Mm
from mkold.mm.mmu_notifier import (
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from mkold.mm.pgtable import find_host_pte, pte_lockptr, pte_pfn, vma_contains

# Whether an entry whose protection changes becomes young.
MPROTECT_YOUNG = parameter("MPROTECT_YOUNG", 0)


@kernel
def change_pte(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> None:
    """Take write permission from one entry."""
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    if READ_ONCE(ptep.value) & PTE_PRESENT:
        atomic_fetch_andnot_relaxed(ptep.value, PTE_WRITE)
        if MPROTECT_YOUNG:
            atomic_or(ptep.value, PTE_ACCESSED)
    spin_unlock(ptl.value)


@kernel
def split_at(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """The VMA is split at ``start`` and ``end`` (``vma_adjust_trans_huge``): an area that is
    cut so is mapped by a table from then on, and secondary entries go of all of it, even if a
    table mapped it before."""
    if start != area_start(mm, start) and thp_vma_suitable(mm, start):
        __split_huge_pmd(mm, start)
    if vma_contains(mm, end) and end != area_start(mm, end) and thp_vma_suitable(mm, end):
        __split_huge_pmd(mm, end)


@kernel
def mprotect_read(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """No page of ``[start, end)`` may be written without a fault, by host or guest."""
    if TRANSPARENT_HUGEPAGE:
        split_at(mm, start, end)
    mmu_notifier_invalidate_range_start(mm, start, end)
    for page in range(start, end):
        ptep = find_host_pte(mm, page)
        if ptep != NULL:
            change_pte(mm, page, ptep)
    mmu_notifier_invalidate_range_end(mm, start, end)


@kernel
def allow_write(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> None:
    """Let one entry be written if it maps the process's own frame."""
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    pte = READ_ONCE(ptep.value)
    if (pte & PTE_PRESENT) and pte_pfn(pte) != mm.node.zero_pfn:
        atomic_or(ptep.value, PTE_WRITE)
    spin_unlock(ptl.value)


@kernel
def mprotect_write(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """The process's own pages of ``[start, end)`` may be written again."""
    mmu_notifier_invalidate_range_start(mm, start, end)
    for page in range(start, end):
        ptep = find_host_pte(mm, page)
        if ptep != NULL:
            allow_write(mm, page, ptep)
    mmu_notifier_invalidate_range_end(mm, start, end)
