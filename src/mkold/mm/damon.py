"""DAMON: regions of pages, by their addresses or by those of their frames, prepared, then
checked for accesses.

Rules
-----
* A region is one page here, of which a byte is sampled.
* To *prepare* it is to clear its accessed bits, the process's own and by the notifiers, which
  nobody flushes. Had any been set, reclaim is left word of it; in any case the folio is idle.
* By virtual addresses DAMON hands the byte's address on as it is, not its page's. So the
  notifiers clear one page more than is sampled, and after a huge entry a huge page's worth from
  the sampled page on, and one more. By physical addresses it is the entry's own pages.
* To *check* it is to look for a bit that is set, or for an idle folio that is none any more, by
  reclaim or since another frame is there.
* The zero page and what is on no list of the LRU have no folio: they are neither prepared nor
  found accessed.

Source: mm/damon/vaddr.c, mm/damon/paddr.c, mm/damon/ops-common.c. Known limits: one target;
regions are neither merged nor split; by physical addresses, no huge entries. One byte in
PAGE_SIZE is the page's first, and then the notifiers clear no page more.
"""

from __future__ import annotations

from mkold.lang import NULL, READ_ONCE, Ptr, Struct, cast, kernel, spin_lock, spin_unlock, u64
from mkold.mm.contpte import ptep_get, ptep_test_and_clear_young
from mkold.mm.large_folio import HPAGE_PMD_NR
from mkold.mm.mm_types import (
    FOLIO_GEN_MASK,
    NO_INDEX,
    PTE_ACCESSED,
    PTE_PRESENT,
    Folio,
    Mm,
    Node,
)
from mkold.mm.mmu_notifier import mmu_notifier_clear_young, mmu_notifier_test_clear_young
from mkold.mm.page_idle import folio_set_idle, folio_set_young, folio_test_idle
from mkold.mm.pgtable import (
    find_host_pte,
    pmd_offset,
    pmd_trans_huge,
    pte_lockptr,
    pte_pfn,
)
from mkold.mm.rmap import pfn_folio


class DamonRegion(Struct):
    """``struct damon_region``: a page, or NO_INDEX if its frame is that page's no more; and how
    often it was found accessed."""

    page: u64
    nr_accesses: u64


class DamonCtx(Struct):
    """``struct damon_ctx`` with its target's regions, in the order of virtual addresses."""

    nr_regions: u64
    regions: Ptr[DamonRegion]
    physical: u64


@kernel
def damon_get_folio(node: Ptr[Node], pfn: u64) -> Ptr[Folio]:
    """The folio of a frame if it is on a list of the LRU; else NULL."""
    if pfn == node.zero_pfn:
        return NULL
    folio = pfn_folio(node, pfn)
    if not READ_ONCE(folio.flags) & FOLIO_GEN_MASK:
        return NULL
    return folio


@kernel
def damon_entry_mkold(mm: Ptr[Mm], ptep: Ptr[u64], page: u64, end: u64) -> bool:
    """``damon_ptep_mkold``, ``damon_pmdp_mkold``: the entry that maps ``page``, made old, and
    ``[page, end)`` by the notifiers; False if it maps no folio. Caller holds its lock."""
    pte = READ_ONCE(ptep.value)
    if not pte & PTE_PRESENT:
        return False
    folio = damon_get_folio(mm.node, pte_pfn(pte))
    if folio == NULL:
        return False
    young: u64 = ptep_test_and_clear_young(ptep)
    young |= mmu_notifier_clear_young(mm, page, end)
    if young:
        folio_set_young(folio)
    folio_set_idle(folio)
    return True


@kernel
def damon_va_mkold(mm: Ptr[Mm], page: u64) -> None:
    """Make a page of the process old."""
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    ptep = find_host_pte(mm, page)
    if ptep != NULL:
        n: u64 = 1
        if pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)):
            n = HPAGE_PMD_NR
        damon_entry_mkold(mm, ptep, page, page + n + 1)
    spin_unlock(ptl.value)


@kernel
def damon_pa_mkold(mm: Ptr[Mm], page: u64) -> bool:
    """Make the frame of a page old, by the entry that maps it; False if it has no folio."""
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    ptep = find_host_pte(mm, page)
    known: u64 = 0
    if ptep != NULL:
        known = damon_entry_mkold(mm, ptep, page, page + 1)
    spin_unlock(ptl.value)
    return known != 0


@kernel
def damon_entry_young(mm: Ptr[Mm], ptep: Ptr[u64], page: u64) -> bool:
    """Whether ``page``, which ``ptep`` maps, was accessed. Caller holds the lock."""
    pte = ptep_get(ptep)
    if not pte & PTE_PRESENT:
        return False
    folio = damon_get_folio(mm.node, pte_pfn(pte))
    if folio == NULL:
        return False
    if pte & PTE_ACCESSED or not folio_test_idle(folio):
        return True
    return mmu_notifier_test_clear_young(mm, page, page + 1, 0, NULL) != 0


@kernel
def damon_va_young(mm: Ptr[Mm], page: u64) -> bool:
    """Whether a page of the process was accessed since it was made old."""
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    ptep = find_host_pte(mm, page)
    young: u64 = 0
    if ptep != NULL:
        young = damon_entry_young(mm, ptep, page)
    spin_unlock(ptl.value)
    return young != 0


@kernel
def damon_set_regions(
    ctx: Ptr[DamonCtx], regions: Ptr[DamonRegion], n: u64, physical: u64
) -> None:
    """Watch ``n`` regions, whose pages are written already, or their frames."""
    ctx.physical = physical
    ctx.regions = cast(Ptr[DamonRegion], regions)
    ctx.nr_regions = n
    for i in range(n):
        regions[i].nr_accesses = 0


@kernel
def damon_va_prepare_access_checks(ctx: Ptr[DamonCtx], mm: Ptr[Mm]) -> None:
    """Make all regions old."""
    for i in range(ctx.nr_regions):
        damon_va_mkold(mm, ctx.regions[i].page)


@kernel
def damon_pa_prepare_access_checks(ctx: Ptr[DamonCtx], mm: Ptr[Mm]) -> None:
    """Make the frames of all regions old."""
    for i in range(ctx.nr_regions):
        if not damon_pa_mkold(mm, ctx.regions[i].page):
            ctx.regions[i].page = NO_INDEX


@kernel
def damon_forget_frames(ctx: Ptr[DamonCtx], mm: Ptr[Mm]) -> None:
    """Of regions whose page is not there no page is known any more."""
    for i in range(ctx.nr_regions if ctx.physical else 0):
        page = ctx.regions[i].page
        if page != NO_INDEX:
            ptep = find_host_pte(mm, page)
            if ptep == NULL or not READ_ONCE(ptep.value) & PTE_PRESENT:
                ctx.regions[i].page = NO_INDEX


@kernel
def damon_check_accesses(ctx: Ptr[DamonCtx], mm: Ptr[Mm]) -> None:
    """Count the regions that were accessed."""
    for i in range(ctx.nr_regions):
        page = ctx.regions[i].page
        if page != NO_INDEX and damon_va_young(mm, page):
            ctx.regions[i].nr_accesses += 1
