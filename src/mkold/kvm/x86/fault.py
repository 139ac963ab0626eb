"""A page fault of a guest whose tables are the TDP MMU's.

Rules
-----
* First the fast way (``tdp.fast_fault``). Else the host is asked for the frame without a lock,
  and ``mmu_lock`` is taken for reading to map it.
* Under the lock the fault is stale, and the guest tries again, if its root was made invalid,
  or if the page was being invalidated meanwhile (``mkold.kvm.retry``).
* On return to the guest the access is tried again.

Source: arch/x86/kvm/mmu/mmu.c (``kvm_tdp_mmu_page_fault``, ``is_page_fault_stale``); commit
a955cad84cda (a root that was made invalid).
Known limits: the retry counter's range is of host pages, the kernel's (since 6.8) of guest
pages; with memslots that stay as they are one is the other.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.kvm.release import kvm_release_faultin_page
from mkold.kvm.retry import mmu_invalidate_retry
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST, MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.mmu.memslot import kvm_mmu_max_mapping_level
from mkold.kvm.x86.tdp.fast_fault import fast_page_fault
from mkold.kvm.x86.tdp.map import RET_PF_ENOMEM, RET_PF_RETRY, kvm_tdp_mmu_map
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    cpu_relax,
    kernel,
    parameter,
    smp_rmb,
    u64,
)
from mkold.mm.fault.memory import hva_to_pfn
from mkold.mm.mm_types import PFN_ERR, PFN_ERR_RETRY
from mkold.sync.rcu import rcu_core

# 0 leaves out a check: of the retry counter, a seeded fault; of the root, one of its time
# (a955cad84cda).
CHECK_RETRY = parameter("CHECK_RETRY", 1)
CHECK_OBSOLETE_ROOT = parameter("CHECK_OBSOLETE_ROOT", 1)


@kernel
def is_page_fault_stale(kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], mmu_seq: u64, hva: u64) -> bool:
    """Under ``mmu_lock``: whether what the fault has found out counts no more."""
    if CHECK_OBSOLETE_ROOT and READ_ONCE(root.invalid):
        return True
    return CHECK_RETRY and mmu_invalidate_retry(kvm, mmu_seq, hva, hva + 1)


@kernel
def direct_map(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64,
    pfn: u64, mmu_seq: u64, write: u64, writable: u64,
) -> u64:  # fmt: skip
    """Map ``gfn`` if its frame is still ``pfn``; RET_PF_*."""
    root = vcpu.arch.root
    result: u64 = RET_PF_RETRY
    kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
    if not is_page_fault_stale(kvm, root, mmu_seq, gfn_to_hva(slot, gfn)):
        level = kvm_mmu_max_mapping_level(kvm, slot, gfn)
        result = kvm_tdp_mmu_map(kvm, root, slot, gfn, pfn, level, write, writable)
    kvm_mmu_read_unlock(kvm)
    return result


@kernel
def kvm_tdp_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Handle a fault of ``vcpu``, which is outside guest mode.

    Returns
    -------
    RESUME_GUEST: try the access again; RESUME_HOST: the guest has no memory there, or the
    host has no frame for it
    """
    rcu_core()
    vcpu.stat.faults += 1
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL or vcpu.arch.root == NULL:
        return RESUME_HOST
    if fast_page_fault(vcpu, slot, gfn, write) != RET_PF_RETRY:
        return RESUME_GUEST
    mmu_seq = READ_ONCE(kvm.mmu_invalidate_seq)
    smp_rmb()  # seq first, then the frame
    pfn, writable = hva_to_pfn(kvm.mm, gfn_to_hva(slot, gfn), write)
    if pfn >= PFN_ERR:
        if pfn == PFN_ERR_RETRY:
            cpu_relax()
            return RESUME_GUEST
        return RESUME_HOST
    result = direct_map(kvm, vcpu, slot, gfn, pfn, mmu_seq, write, writable)
    kvm_release_faultin_page(kvm, pfn, result == RET_PF_RETRY)
    if result == RET_PF_ENOMEM:
        return RESUME_HOST
    if result == RET_PF_RETRY:
        vcpu.stat.retries += 1
        cpu_relax()
    return RESUME_GUEST
