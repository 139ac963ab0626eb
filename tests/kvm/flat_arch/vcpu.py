"""The hooks of a vCPU: the hardware's walk, and the fault."""

from __future__ import annotations

from flat_arch.kvm_host import (
    ACCESSED,
    FLAT_PAGES,
    PFN_SHIFT,
    PRESENT,
    WRITE,
    Kvm,
    flat_entry,
)
from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.retry import mmu_invalidate_retry
from mkold.kvm.tlb import tlb_fill
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST, Vcpu
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    atomic_or,
    cpu_relax,
    kernel,
    smp_rmb,
    smp_store_release,
    u64,
)
from mkold.mm.fault.memory import hva_to_pfn
from mkold.mm.mm_types import PFN_ERR, PFN_ERR_RETRY


@kernel
def kvm_arch_vcpu_runnable(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """There is a table from the first moment."""
    return 1


@kernel
def kvm_arch_vcpu_walk(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> tuple[u64, u64]:
    """A table of one level has no walk; the accessed bit is set whatever else changed."""
    ptep = flat_entry(kvm, gfn)
    entry = READ_ONCE(ptep.value)
    if not entry & PRESENT or (write and not entry & WRITE):
        return 0, 0
    if not entry & ACCESSED:
        atomic_or(ptep.value, ACCESSED)
    tlb_fill(vcpu, gfn, entry >> PFN_SHIFT, entry & WRITE != 0)
    return 1, entry >> PFN_SHIFT


@kernel
def kvm_arch_vcpu_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    vcpu.stat.faults += 1
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL or gfn >= FLAT_PAGES:
        return RESUME_HOST
    seq = READ_ONCE(kvm.mmu_invalidate_seq)
    smp_rmb()
    hva = gfn_to_hva(slot, gfn)
    pfn, writable = hva_to_pfn(kvm.mm, hva, write)
    if pfn >= PFN_ERR:
        cpu_relax()
        return RESUME_GUEST if pfn == PFN_ERR_RETRY else RESUME_HOST
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    if mmu_invalidate_retry(kvm, seq, hva, hva + 1):
        vcpu.stat.retries += 1
    else:
        bits = PRESENT | ACCESSED | (WRITE if writable else 0)
        smp_store_release(flat_entry(kvm, gfn).value, (pfn << PFN_SHIFT) | bits)
    kvm_mmu_unlock(kvm)
    return RESUME_GUEST
