"""The kernel writes to a word of a process's memory, or reads one without a fault.

Rules
-----
* The page table's lock keeps the frame while its word is written to, as the process's own TLB
  entry would; the page is young and dirty then.
* Who must not fault, nor take that lock, reads the word and then makes the entry young by one
  compare-and-swap: if the entry is not what it was, the word counts for nothing.

Source: arch/x86/include/asm/uaccess.h (__try_cmpxchg_user), virt/kvm/kvm_main.c
(kvm_vcpu_read_guest_atomic).
"""

from __future__ import annotations

from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    atomic_or,
    cast,
    cmpxchg,
    kernel,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.contpte import contpte_access_fault
from mkold.mm.fault.memory import faultin_page
from mkold.mm.mm_types import (
    PAGE_SHIFT,
    PFN_ERR,
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_PRESENT,
    PTE_WRITE,
    Mm,
)
from mkold.mm.pgtable import find_host_pte, mapped_pfn, pmd_mkyoung, pte_lockptr


@kernel
def user_word(mm: Ptr[Mm], page: u64, pte: u64, offset: u64) -> Ptr[u64]:
    """Word ``offset`` of host page ``page``, whose entry ``pte`` is present."""
    return cast(Ptr[u64], (mapped_pfn(mm, page, pte) << PAGE_SHIFT) + offset)


@kernel
def change_user(
    mm: Ptr[Mm], page: u64, offset: u64, old: u64, new: u64, compare: u64
) -> tuple[u64, u64]:
    """Write ``new`` to word ``offset`` of host page ``page``, faulted in if need be; with
    ``compare`` only if it is ``old``.

    Returns
    -------
    failed : 0, or as ``hva_to_pfn``'s PFN_ERR_FAULT or PFN_ERR_RETRY
    seen : what was there, where that is compared
    """
    while True:
        pfn, _writable = faultin_page(mm, page, 1)
        if pfn >= PFN_ERR:
            return pfn, 0
        ptep = find_host_pte(mm, page)
        ptl = pte_lockptr(mm, page)
        spin_lock(ptl.value)
        pte = READ_ONCE(ptep.value)
        can: u64 = (pte & PTE_PRESENT) != 0 and (pte & PTE_WRITE) != 0
        seen = old
        if can:
            word = user_word(mm, page, pte, offset)
            if compare:
                seen = cmpxchg(word.value, old, new)
            else:
                WRITE_ONCE(word.value, new)
            pmd_mkyoung(mm, page)
            contpte_access_fault(ptep)
            atomic_or(ptep.value, PTE_ACCESSED | PTE_DIRTY)
        spin_unlock(ptl.value)
        if can:
            return 0, seen


@kernel
def cmpxchg_user(mm: Ptr[Mm], page: u64, offset: u64, old: u64, new: u64) -> tuple[u64, u64]:
    """``change_user`` by a compare-and-swap."""
    return change_user(mm, page, offset, old, new, 1)


@kernel
def put_user(mm: Ptr[Mm], page: u64, offset: u64, new: u64) -> u64:
    """``change_user`` by a store; failed."""
    failed, _seen = change_user(mm, page, offset, 0, new, 0)
    return failed


@kernel
def get_user_nofault(mm: Ptr[Mm], page: u64, offset: u64) -> tuple[u64, u64]:
    """Read word ``offset`` of host page ``page`` if it is mapped: failed, word. May be called
    under ``mmu_lock``."""
    ptep = find_host_pte(mm, page)
    if ptep == NULL:
        return 1, 0
    pte = READ_ONCE(ptep.value)
    if not pte & PTE_PRESENT:
        return 1, 0
    word = READ_ONCE(user_word(mm, page, pte, offset).value)
    if cmpxchg(ptep.value, pte, pte | PTE_ACCESSED) != pte:
        return 1, 0
    pmd_mkyoung(mm, page)
    return 0, word
