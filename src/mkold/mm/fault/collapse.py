"""``MADV_COLLAPSE``: what a table maps is copied into a large folio that a huge entry maps.

Rules
-----
* Only areas that lie in the range whole, have a table, and in it an entry that may be written;
  with ``COLLAPSE_READ_ONLY`` 1 (Linux 7.2) whatever is in the table.
* A call ends at an area without a table, and leaves those behind it; with
  ``COLLAPSE_PAST_NOTHING`` 1 (Linux 7.2) it goes on.
* Pages in swap come back first, as for a read. What was never written reads as zero.
* Secondary entries of all the area go. The new entry is young, dirty and writable; the folio
  joins the second youngest generation.

Source: mm/khugepaged.c (madvise_collapse, hpage_collapse_scan_pmd, collapse_huge_page).
Known limits: the kernel lets the notifiers go before it copies, as it holds ``mmap_lock``; here
they wait until the end. See ``mm/huge/pmd.py`` for other CPUs.
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    parameter,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.fault.madvise import zap_present
from mkold.mm.fault.memory import faultin_page
from mkold.mm.huge.pmd import area_start, set_huge_pmd, thp_vma_suitable
from mkold.mm.large_folio import HPAGE_PMD_NR
from mkold.mm.large_frames import alloc_huge
from mkold.mm.mglru.generations import lru_gen_add_folio
from mkold.mm.mm_types import PAGE_SHIFT, PTE_PRESENT, PTE_SWAP, PTE_WRITE, Mm
from mkold.mm.mmu_notifier import (
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from mkold.mm.pgtable import pmd_offset, pte_deposit, pte_lockptr, pte_offset, pte_pfn, set_pte
from mkold.mm.rmap import pfn_folio
from mkold.mm.swap import copy_page

# Whether an area is collapsed of which no entry may be written.
COLLAPSE_READ_ONLY = parameter("COLLAPSE_READ_ONLY", 0)
# Whether a call goes on behind an area of which nothing was ever mapped.
COLLAPSE_PAST_NOTHING = parameter("COLLAPSE_PAST_NOTHING", 0)


@kernel
def hpage_collapse_scan_pmd(mm: Ptr[Mm], start: u64) -> bool:
    """Whether the area from ``start`` on has a table that can be collapsed."""
    table = pte_offset(mm, start)
    if table == NULL:
        return False
    if COLLAPSE_READ_ONLY:
        return True
    writable: u64 = 0
    for i in range(HPAGE_PMD_NR):
        pte = READ_ONCE(table[i])
        if pte & PTE_PRESENT:
            writable |= pte & PTE_WRITE
    return writable != 0


@kernel
def collapse_swapin(mm: Ptr[Mm], start: u64) -> None:
    """Bring back what of the area is in swap."""
    table = pte_offset(mm, start)
    for i in range(HPAGE_PMD_NR):
        pte = READ_ONCE(table[i])
        if (pte & PTE_SWAP) and not pte & PTE_PRESENT:
            faultin_page(mm, start + i, 0)


@kernel
def collapse_copy(mm: Ptr[Mm], table: Ptr[u64], pfn: u64) -> None:
    """Copy what the table maps to the frames from ``pfn`` on, and unmap it."""
    node = mm.node
    for i in range(HPAGE_PMD_NR):
        pte = READ_ONCE(table[i])
        set_pte(table + i, 0)
        if (pte & PTE_PRESENT) and pte_pfn(pte) != node.zero_pfn:
            copy_page((pfn + i) << PAGE_SHIFT, pte_pfn(pte) << PAGE_SHIFT)
            zap_present(node, pte)


@kernel
def collapse_huge_page(mm: Ptr[Mm], start: u64) -> None:
    """Collapse the area from ``start`` on, if it can be."""
    if not hpage_collapse_scan_pmd(mm, start):
        return
    node = mm.node
    pfn = alloc_huge(node)
    if not pfn:
        return
    collapse_swapin(mm, start)
    mmu_notifier_invalidate_range_start(mm, start, start + HPAGE_PMD_NR)
    ptl = pte_lockptr(mm, start)
    spin_lock(ptl.value)
    table = cast(Ptr[u64], READ_ONCE(pmd_offset(mm, start).value))
    collapse_copy(mm, table, pfn)
    pte_deposit(mm, start, cast(u64, table))
    set_huge_pmd(mm, start, pfn)
    spin_lock(node.lrugen.lru_lock)
    folio = pfn_folio(node, pfn)
    lru_gen_add_folio(addr(node.lrugen), folio, 0)
    spin_unlock(node.lrugen.lru_lock)
    spin_unlock(ptl.value)
    mmu_notifier_invalidate_range_end(mm, start, start + HPAGE_PMD_NR)


@kernel
def madvise_collapse(mm: Ptr[Mm], start: u64, end: u64) -> None:
    """Map what areas ``[start, end)`` has whole by huge entries."""
    for page in range(start, end):
        whole = page == area_start(mm, page) and page + HPAGE_PMD_NR <= end
        if whole and thp_vma_suitable(mm, page):
            if not COLLAPSE_PAST_NOTHING and READ_ONCE(pmd_offset(mm, page).value) == 0:
                return
            collapse_huge_page(mm, page)
