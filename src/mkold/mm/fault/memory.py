"""Page faults on the host.

Rules
-----
* A read of a page that was never written maps the shared zero page, read-only. A write
  gives the page a frame of its own.
* A write to a page that maps the zero page replaces it inside
  ``mmu_notifier_invalidate_range_start/end``: the secondary entry goes, and its accessed
  bit with it. With ``COW_CHANGE_PTE`` 1 (Linux 6.1) ``change_pte`` follows inside, under the
  page-table lock, and who subscribes may map the frame at once.
* A swapped page comes back clean when read. Read-only, so that a later write goes through a
  fault that makes it dirty; or, with ``SWAPIN_WRITABLE`` 1, writable, as nobody shares it
  (Linux 6.12 does so, 6.1 does not).
* A new frame joins the youngest generation before its page-table lock is let go.
* No frame left: reclaim, and if that yields nothing, PFN_ERR_RETRY.

Source: mm/memory.c (do_anonymous_page, do_wp_page, do_swap_page).
Known limits: no read-ahead, no swap cache; huge pages are ``mm/huge``'s.
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    atomic_or,
    cast,
    get_cycles,
    kernel,
    parameter,
    smp_processor_id,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.contpte import contpte_access_fault, contpte_try_unfold
from mkold.mm.frames import alloc_folio, free_folio
from mkold.mm.huge.pmd import handle_huge_fault
from mkold.mm.mglru.evict import shrink_node
from mkold.mm.mglru.generations import folio_add_lru_vma
from mkold.mm.mm_types import (
    MIN_LRU_BATCH,
    PAGE_SHIFT,
    PFN_ERR,
    PFN_ERR_FAULT,
    PFN_ERR_RETRY,
    PTE_ACCESSED,
    PTE_CONT,
    PTE_DIRTY,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    PTE_READ,
    PTE_SWAP,
    PTE_WRITE,
    TRANSPARENT_HUGEPAGE,
    Mm,
)
from mkold.mm.mmu_notifier import (
    mmu_notifier_change_pte,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from mkold.mm.pgtable import (
    find_host_pte,
    mapped_pfn,
    pmd_mkyoung,
    pte_alloc,
    pte_lockptr,
    pte_pfn,
    set_pte,
    vma_contains,
)
from mkold.mm.rmap import folio_map, pfn_folio
from mkold.mm.swap import clear_page, swap_readpage, wait_for_swap
from mkold.mm.tiers import folio_mark_accessed, folio_set_referenced
from mkold.mm.workingset import lru_gen_refault, lru_gen_test_recent

# How a page that comes back from swap for a read is mapped: 0 read-only, 1 writable.
SWAPIN_WRITABLE = parameter("SWAPIN_WRITABLE", 0)

# Whether a page that was copied is told of by ``change_pte``: up to Linux 6.9.
COW_CHANGE_PTE = parameter("COW_CHANGE_PTE", 0)

# How often KVM marks a page as accessed when it has mapped it and lets go of it.
KVM_FAULT_MARKS = parameter("KVM_FAULT_MARKS", 1)

PTE_YOUNG_READ = PTE_PRESENT | PTE_READ | PTE_ACCESSED
PTE_YOUNG_CLEAN = PTE_YOUNG_READ | PTE_WRITE
PTE_YOUNG_WRITE = PTE_YOUNG_READ | PTE_WRITE | PTE_DIRTY


@kernel
def do_map_zero_page(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> bool:
    """A read of a page that was never written."""
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    if not READ_ONCE(ptep.value):
        set_pte(ptep, PTE_YOUNG_READ | (mm.node.zero_pfn << PTE_PFN_SHIFT))
    spin_unlock(ptl.value)
    return True


@kernel
def install_pte(mm: Ptr[Mm], page: u64, ptep: Ptr[u64], seen: u64, pfn: u64, bits: u64) -> bool:
    """Map a fresh frame if the entry is still ``seen``; False (frame untouched) if not.

    A swapped page's content is read here, under the lock: the entry alone can't tell
    whether the page came back, changed and left again in the meantime.
    """
    node = mm.node
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    same = READ_ONCE(ptep.value) == seen
    if same:
        if seen & PTE_SWAP:
            swap_readpage(mm, page, pfn)
        folio = pfn_folio(node, pfn)
        folio_map(folio, page)
        set_pte(ptep, bits | (pfn << PTE_PFN_SHIFT))
        if COW_CHANGE_PTE and seen & PTE_PRESENT:
            mmu_notifier_change_pte(mm, page, pfn)
        from_swap: u64 = seen & PTE_SWAP
        if from_swap:
            lru_gen_refault(node, folio, seen)
        folio_add_lru_vma(mm, page, folio, from_swap, bits & PTE_DIRTY)
    spin_unlock(ptl.value)
    return same


@kernel
def alloc_or_reclaim(mm: Ptr[Mm]) -> u64:
    """A frame with unknown content; reclaims by itself if there is none. 0: no luck."""
    node = mm.node
    pfn = alloc_folio(node)
    if pfn:
        return pfn
    events = addr(node.events[smp_processor_id()])
    events.allocstall += 1
    began = get_cycles()
    shrink_node(node, mm, MIN_LRU_BATCH // 2)
    events.direct_cycles += get_cycles() - began
    return alloc_folio(node)


@kernel
def alloc_zeroed_or_reclaim(mm: Ptr[Mm]) -> u64:
    """As ``alloc_or_reclaim``, zeroed."""
    pfn = alloc_or_reclaim(mm)
    if pfn:
        clear_page(pfn << PAGE_SHIFT)
    return pfn


@kernel
def do_anonymous_page(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> bool:
    """A write to a page that was never touched."""
    pfn = alloc_zeroed_or_reclaim(mm)
    if not pfn:
        return False
    if not install_pte(mm, page, ptep, 0, pfn, PTE_YOUNG_WRITE):
        free_folio(mm.node, pfn)
    return True


@kernel
def do_cow_zero_page(mm: Ptr[Mm], page: u64, ptep: Ptr[u64]) -> bool:
    """A write to a page that maps the zero page: a frame of its own."""
    node = mm.node
    pfn = alloc_zeroed_or_reclaim(mm)
    if not pfn:
        return False
    mmu_notifier_invalidate_range_start(mm, page, page + 1)
    seen = READ_ONCE(ptep.value)
    is_zero = (seen & PTE_PRESENT) != 0 and pte_pfn(seen) == node.zero_pfn
    if is_zero and install_pte(mm, page, ptep, seen, pfn, PTE_YOUNG_WRITE):
        node.events[smp_processor_id()].pgfault_cow += 1
    else:
        free_folio(node, pfn)
    mmu_notifier_invalidate_range_end(mm, page, page + 1)
    return True


@kernel
def do_wp_reuse(mm: Ptr[Mm], page: u64, ptep: Ptr[u64], pte: u64) -> bool:
    """A write to the process's own clean page: it becomes writable and dirty in place."""
    ptl = pte_lockptr(mm, page)
    spin_lock(ptl.value)
    now = READ_ONCE(ptep.value)
    if (now | PTE_ACCESSED) == (pte | PTE_ACCESSED):
        contpte_try_unfold(ptep)
        set_pte(ptep, (now & ~PTE_CONT) | PTE_WRITE | PTE_DIRTY | PTE_ACCESSED)
    spin_unlock(ptl.value)
    return True


@kernel
def do_swap_page(mm: Ptr[Mm], page: u64, ptep: Ptr[u64], pte: u64, write: u64) -> bool:
    """Bring a page back from swap, waiting as long as the device takes."""
    node = mm.node
    events = addr(node.events[smp_processor_id()])
    pfn = alloc_or_reclaim(mm)
    if not pfn:
        return False
    events.stall_cycles += wait_for_swap(node)
    bits: u64 = PTE_YOUNG_CLEAN if SWAPIN_WRITABLE else PTE_YOUNG_READ
    if write:
        bits = PTE_YOUNG_WRITE
    if not install_pte(mm, page, ptep, pte, pfn, bits):
        free_folio(node, pfn)
        return True
    events.pswpin += 1
    events.workingset_refault += 1
    if lru_gen_test_recent(node, pte):
        events.workingset_activate += 1
    return True


@kernel
def handle_pte_fault(mm: Ptr[Mm], page: u64, ptep: Ptr[u64], pte: u64, write: u64) -> bool:
    """Bring the entry one step forward; False if there is no frame to be had."""
    node = mm.node
    events = addr(node.events[smp_processor_id()])
    events.pgfault += 1
    if pte & PTE_PRESENT:
        if pte_pfn(pte) == node.zero_pfn:
            return do_cow_zero_page(mm, page, ptep)
        return do_wp_reuse(mm, page, ptep, pte)
    if pte & PTE_SWAP:
        return do_swap_page(mm, page, ptep, pte, write)
    if not write:
        events.pgfault_zero += 1
        return do_map_zero_page(mm, page, ptep)
    return do_anonymous_page(mm, page, ptep)


@kernel
def faultin_page(mm: Ptr[Mm], page: u64, write: u64) -> tuple[u64, u64]:
    """As ``hva_to_pfn``, for the process's own access."""
    if not vma_contains(mm, page):
        return PFN_ERR_FAULT, 0
    if TRANSPARENT_HUGEPAGE:
        pfn, writable = handle_huge_fault(mm, page, write)
        if pfn:
            return pfn, writable
    ptep = pte_alloc(mm, page)
    while True:
        pte = READ_ONCE(ptep.value)
        if (pte & PTE_PRESENT) and ((pte & PTE_WRITE) or not write):
            return pte_pfn(pte), (pte & PTE_WRITE) != 0
        if not handle_pte_fault(mm, page, ptep, pte, write):
            return PFN_ERR_RETRY, 0


@kernel
def hva_to_pfn_fast(mm: Ptr[Mm], page: u64) -> u64:
    """The frame of a page that the process may write now; PFN_ERR: it is for the slow path."""
    if not vma_contains(mm, page):
        return PFN_ERR
    ptep = find_host_pte(mm, page)
    pte: u64 = READ_ONCE(ptep.value) if ptep != NULL else 0
    if not pte & PTE_PRESENT or not pte & PTE_WRITE:
        return PFN_ERR
    folio_set_referenced(pfn_folio(mm.node, pte_pfn(pte)))
    return mapped_pfn(mm, page, pte)


@kernel
def hva_to_pfn_slow(mm: Ptr[Mm], page: u64, write: u64) -> tuple[u64, u64]:
    """``hva_to_pfn`` with a fault if need be, which is a use of the page."""
    pfn, writable = faultin_page(mm, page, write)
    if pfn < PFN_ERR and pfn != mm.node.zero_pfn:
        folio_mark_accessed(pfn_folio(mm.node, pfn))
    return pfn, writable


@kernel
def hva_to_pfn(mm: Ptr[Mm], page: u64, write: u64) -> tuple[u64, u64]:
    """The frame behind host page ``page``, faulted in if need be, for KVM; which marks it as
    accessed when it lets go of it.

    Parameters
    ----------
    page : host page number
    write : whether the access is a write

    Returns
    -------
    pfn : frame number, or ``>= PFN_ERR``: PFN_ERR_FAULT outside the VMA, PFN_ERR_RETRY no
        frame now (hold nothing, then ask again)
    writable : whether a secondary mapping may let the guest write

    Ordering
    --------
    Call with no lock held and outside guest mode: it may reclaim. The answer is only good
    while no ``invalidate_range_start`` has come since; the caller checks its counter.

    Source
    ------
    virt/kvm/kvm_main.c (hva_to_pfn, kvm_release_pfn_clean), mm/gup.c (FOLL_TOUCH),
    mm/memory.c (handle_mm_fault)
    """
    pfn = hva_to_pfn_fast(mm, page)
    writable: u64 = 1
    if pfn >= PFN_ERR:
        pfn, writable = hva_to_pfn_slow(mm, page, write)
    if pfn < PFN_ERR and pfn != mm.node.zero_pfn:
        for _ in range(KVM_FAULT_MARKS):
            folio_mark_accessed(pfn_folio(mm.node, pfn))
    return pfn, writable


@kernel
def get_user(mm: Ptr[Mm], page: u64, offset: u64) -> tuple[u64, u64]:
    """Read word ``offset`` of host page ``page`` as the process would, faulted in if need be.

    Returns
    -------
    failed : 0, or as ``hva_to_pfn``'s PFN_ERR_FAULT or PFN_ERR_RETRY
    word : what is there

    Ordering
    --------
    As ``hva_to_pfn``. The page-table lock keeps the frame while the word is read, as the
    process's own TLB entry would; the page's accessed bit is set.

    Source
    ------
    include/linux/uaccess.h (get_user), virt/kvm/kvm_main.c (kvm_read_guest)
    """
    while True:
        pfn, _writable = faultin_page(mm, page, 0)
        if pfn >= PFN_ERR:
            return pfn, 0
        ptep = find_host_pte(mm, page)
        ptl = pte_lockptr(mm, page)
        spin_lock(ptl.value)
        pte = READ_ONCE(ptep.value)
        word: u64 = 0
        if pte & PTE_PRESENT:
            frame = mapped_pfn(mm, page, pte)
            word = READ_ONCE(cast(Ptr[u64], (frame << PAGE_SHIFT) + offset).value)
            pmd_mkyoung(mm, page)
            contpte_access_fault(ptep)
            if not pte & PTE_ACCESSED:
                atomic_or(ptep.value, PTE_ACCESSED)
        spin_unlock(ptl.value)
        if pte & PTE_PRESENT:
            return 0, word
