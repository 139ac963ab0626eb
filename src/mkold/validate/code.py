"""Kernel Python: what the process, the guest and the kernel do in a step.

Rules
-----
* The process's own load or store faults until its entry allows it; then the hardware sets the
  accessed bit, and for a store the dirty bit.
* Between two steps the guest is outside; entering again it finds no translation of before
  (QEMU drops them at a world switch).
* Aging is asked chunk by chunk, as the module does. The *locked* way takes the notifiers' old
  calls. The *lockless* way takes ``test_clear_young``: pages in batches by bitmap, longer
  chunks without one.

Answers are bits, the chunk's number counting from the lowest.
"""

from __future__ import annotations

from mkold.kvm.notifier import kvm_test_clear_young_slow
from mkold.kvm.tlb import kvm_make_request
from mkold.kvm.types import KVM_PFN_ERR, REQ_TLB_FLUSH_ALL, Kvm, Vcpu
from mkold.kvm.vcpu import kvm_vcpu_access, kvm_vcpu_load, kvm_vcpu_put
from mkold.lang import NULL, READ_ONCE, Ptr, atomic_or, kernel, u64
from mkold.mm.fault.memory import faultin_page
from mkold.mm.mm_types import (
    FOLIO_GEN_MASK,
    PFN_ERR,
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_PRESENT,
    PTE_SWAP,
    Mm,
)
from mkold.mm.mmu_notifier import (
    mmu_notifier_clear_flush_young,
    mmu_notifier_clear_young,
    mmu_notifier_test_clear_young,
)
from mkold.mm.pgtable import pmd_mkyoung, pte_offset, pte_pfn, ptep_test_and_clear_young
from mkold.mm.rmap import pfn_folio


@kernel
def process_access(mm: Ptr[Mm], page: u64, write: u64) -> u64:
    """One load or store of the process to host page ``page``; 1: it has no memory there."""
    pfn, _writable = faultin_page(mm, page, write)
    if pfn >= PFN_ERR:
        return 1
    bits: u64 = PTE_ACCESSED
    if write:
        bits |= PTE_DIRTY
    pmd_mkyoung(mm, page)
    ptep = pte_offset(mm, page)
    atomic_or(ptep.value, bits)
    return 0


@kernel
def guest_enter(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Enter guest mode with an empty TLB; 1: it was not entered."""
    kvm_make_request(vcpu, REQ_TLB_FLUSH_ALL)
    return kvm_vcpu_load(kvm, vcpu)


@kernel
def guest_access(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """One load or store of the guest, in guest mode; 1: it has no memory there."""
    return kvm_vcpu_access(kvm, vcpu, gfn, write) >= KVM_PFN_ERR


@kernel
def guest_leave(vcpu: Ptr[Vcpu]) -> None:
    """Leave guest mode."""
    kvm_vcpu_put(vcpu)


@kernel
def ask_clear_young(mm: Ptr[Mm], start: u64, end: u64, flush: u64) -> u64:
    """Clear the secondary accessed bits of host pages ``[start, end)`` by the old calls."""
    if flush:
        return mmu_notifier_clear_flush_young(mm, start, end)
    return mmu_notifier_clear_young(mm, start, end)


@kernel
def ask_test_young(kvm: Ptr[Kvm], page: u64) -> u64:
    """Whether host page ``page`` is young, by the slow path."""
    return kvm_test_clear_young_slow(kvm, page, page + 1, 0)


@kernel
def ask_batch(mm: Ptr[Mm], start: u64, end: u64, clear: u64, bitmap: Ptr[u64]) -> u64:
    """The age of host pages ``[start, end)``, at most 64, by one test into ``bitmap`` and, to
    clear, one call more; as the bits that the test gave, the last page lowest."""
    bitmap[0] = 0
    mmu_notifier_test_clear_young(mm, start, end, 0, bitmap)
    found = READ_ONCE(bitmap[0])
    if clear and found:
        mmu_notifier_test_clear_young(mm, start, end, 1, bitmap)
    return found


@kernel
def ask_range(mm: Ptr[Mm], start: u64, end: u64, clear: u64) -> u64:
    """Whether any of host pages ``[start, end)`` is young, by one call without a bitmap."""
    return mmu_notifier_test_clear_young(mm, start, end, clear, NULL) != 0


@kernel
def ask_host_young(mm: Ptr[Mm], page: u64, clear: u64) -> u64:
    """Whether the process's own entry of ``page`` has the accessed bit; clears it."""
    ptep = pte_offset(mm, page)
    if ptep == NULL:
        return 0
    pte = READ_ONCE(ptep.value)
    if not pte & PTE_PRESENT:
        return 0
    if clear:
        return ptep_test_and_clear_young(ptep)
    return (pte & PTE_ACCESSED) != 0


@kernel
def ask_present(mm: Ptr[Mm], page: u64) -> u64:
    """Whether the process's own entry of ``page`` is present."""
    ptep = pte_offset(mm, page)
    if ptep == NULL:
        return 0
    return (READ_ONCE(ptep.value) & PTE_PRESENT) != 0


@kernel
def ask_swapped(mm: Ptr[Mm], page: u64) -> u64:
    """Whether the content of ``page`` is in swap."""
    ptep = pte_offset(mm, page)
    if ptep == NULL:
        return 0
    pte = READ_ONCE(ptep.value)
    return (pte & PTE_SWAP) != 0 and (pte & PTE_PRESENT) == 0


@kernel
def ask_generation(mm: Ptr[Mm], page: u64) -> u64:
    """What ``page``'s folio stores of its generation: the number plus one; 0: it is on no
    list, or there is none."""
    ptep = pte_offset(mm, page)
    if ptep == NULL:
        return 0
    pte = READ_ONCE(ptep.value)
    if not (pte & PTE_PRESENT) or pte_pfn(pte) == mm.node.zero_pfn:
        return 0
    return READ_ONCE(pfn_folio(mm.node, pte_pfn(pte)).flags) & FOLIO_GEN_MASK
