"""``mprotect(PROT_READ)``: pages stay, and may no longer be written; and back.

Rules
-----
* What allows writing again needs no code of its own: the next write is a fault, which finds
  the page's own frame and makes the entry writable (``do_wp_page``). ``PROT_WRITE`` makes what
  is the process's own writable at once, as it is nobody else's.
* A huge entry is changed as one if all of its area is, and split if a part is.
* With ``MPROTECT_BATCH`` 1 (since Linux 6.17) entries of the range that map one large folio in
  order, with equal permissions, are changed together: each has the accessed and dirty bits of
  all then.
* With ``MPROTECT_YOUNG`` 1 (POWER, whose ``pte_modify`` takes the accessed bit of the new
  protection too) what is changed is young.

Source: mm/mprotect.c (change_pte_range, mprotect_folio_pte_batch), include/linux/pgtable.h
(modify_prot_start_ptes), arch/powerpc/include/asm/book3s/64/pgtable.h.
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
from mkold.mm.contpte import (
    PTE_AD,
    contpte_set_ptes,
    contpte_try_fold,
    contpte_try_unfold,
)
from mkold.mm.huge.pmd import __split_huge_pmd, area_start, thp_vma_suitable
from mkold.mm.large_folio import HPAGE_PMD_NR, folio_test_large
from mkold.mm.mm_types import (
    PTE_ACCESSED,
    PTE_CONT,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    PTE_WRITE,
    TRANSPARENT_HUGEPAGE,
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
    pte_pfn,
    vma_contains,
)
from mkold.mm.rmap import pfn_folio

# Whether an entry whose protection changes becomes young.
MPROTECT_YOUNG = parameter("MPROTECT_YOUNG", 0)

# Whether entries of one large folio are changed together.
MPROTECT_BATCH = parameter("MPROTECT_BATCH", 0)


@kernel
def mprotect_folio_pte_batch(mm: Ptr[Mm], page: u64, end: u64, ptep: Ptr[u64]) -> u64:
    """How many entries from that of ``page`` on are changed together."""
    want = READ_ONCE(ptep.value) & ~(PTE_AD | PTE_CONT)
    if not MPROTECT_BATCH or not folio_test_large(pfn_folio(mm.node, pte_pfn(want))):
        return 1
    most = min(end, area_start(mm, page) + HPAGE_PMD_NR) - page
    n: u64 = 1
    while n < most and READ_ONCE(ptep[n]) & ~(PTE_AD | PTE_CONT) == want + (n << PTE_PFN_SHIFT):
        n += 1
    return n


@kernel
def modify_prot_ptes(ptep: Ptr[u64], n: u64, take: u64, give: u64) -> None:
    """``n`` entries lose and get these bits, and each has the accessed bits of all."""
    seen: u64 = 0
    for i in range(n):
        contpte_try_unfold(ptep + i)
        seen |= READ_ONCE(ptep[i])
    give |= seen & PTE_AD
    for i in range(n):
        atomic_fetch_andnot_relaxed(ptep[i], take)
        atomic_or(ptep[i], give)


@kernel
def change_ptes(mm: Ptr[Mm], page: u64, end: u64, ptep: Ptr[u64], take: u64, give: u64) -> u64:
    """Change the entry of ``page``, which is present, and those that go with it; how many."""
    if TRANSPARENT_HUGEPAGE and pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)):
        modify_prot_ptes(ptep, 1, take, give)
        return 1
    n = mprotect_folio_pte_batch(mm, page, end, ptep)
    modify_prot_ptes(ptep, n, take, give)
    if n > 1:
        contpte_set_ptes(ptep, n)
    else:
        contpte_try_fold(mm.node, ptep)
    return n


@kernel
def change_pte_range(mm: Ptr[Mm], page: u64, end: u64, take: u64, give: u64) -> u64:
    """Change the entry of ``page`` if it is present, and what goes with it; how many pages that
    is. The zero page may not be written."""
    ptep = find_host_pte(mm, page)
    if ptep == NULL:
        return 1
    n: u64 = 1
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    pte = READ_ONCE(ptep.value)
    if (pte & PTE_PRESENT) and not (give & PTE_WRITE and pte_pfn(pte) == mm.node.zero_pfn):
        n = change_ptes(mm, page, end, ptep, take, give)
    spin_unlock(ptl.value)
    return n


@kernel
def change_protection(mm: Ptr[Mm], start: u64, end: u64, take: u64, give: u64) -> None:
    """The entries of ``[start, end)`` lose and get these bits."""
    mmu_notifier_invalidate_range_start(mm, start, end)
    page = start
    while page < end:
        page += change_pte_range(mm, page, end, take, give)
    mmu_notifier_invalidate_range_end(mm, start, end)


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
    change_protection(mm, start, end, PTE_WRITE, PTE_ACCESSED if MPROTECT_YOUNG else 0)


@kernel
def mprotect_write(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """The process's own pages of ``[start, end)`` may be written again."""
    change_protection(mm, start, end, 0, PTE_WRITE)
