"""The hooks of the dirty log where the TDP MMU maps all of the guest.

A log that begins with all bits set protects nothing. Where a log ends, large leaves come back
if the host's memory allows them; D and W stay as they are.

Source: arch/x86/kvm/x86.c (``kvm_mmu_slot_apply_flags``).
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.tdp import dirty
from mkold.kvm.x86.tdp.huge import kvm_tdp_mmu_recover_huge_pages
from mkold.lang import NULL, WRITE_ONCE, Ptr, addr, kernel, u64


@kernel
def kvm_arch_commit_memory_region(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64], protect: u64
) -> u64:
    """The slot's log begins or ends; no vCPU calls this."""
    if bitmap != NULL and protect:
        return dirty.kvm_mmu_slot_start_logging(kvm, slot, bitmap)
    WRITE_ONCE(slot.dirty_bitmap, bitmap)
    if bitmap == NULL:
        waits = addr(kvm.stat.lock_waits)
        kvm_mmu_read_lock(kvm, waits)
        kvm_tdp_mmu_recover_huge_pages(kvm, slot, waits)
        kvm_mmu_read_unlock(kvm)
    return 0


@kernel
def kvm_arch_mmu_enable_log_dirty_pt_masked(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], offset: u64, mask: u64
) -> None:
    """Clear D or W of the pages' leaves."""
    dirty.kvm_arch_mmu_enable_log_dirty_pt_masked(kvm, slot.base_gfn + offset, mask)
