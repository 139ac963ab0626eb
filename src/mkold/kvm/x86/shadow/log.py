"""The hooks of the dirty log where shadow tables map all of the guest.

Source: arch/x86/kvm/x86.c (``kvm_mmu_slot_apply_flags``), mmu.c
(``kvm_mmu_slot_remove_write_access``). Known limits: large leaves are not split, nor do they
come back where a log ends.
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K
from mkold.kvm.x86.shadow.memslot_rmap import KVM_MAX_HUGEPAGE_LEVEL, gfn_to_rmap
from mkold.kvm.x86.shadow.write_protect import (
    kvm_mmu_write_protect_pt_masked,
    rmap_write_protect,
)
from mkold.lang import WRITE_ONCE, Ptr, addr, kernel, u64


@kernel
def kvm_arch_commit_memory_region(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64], protect: u64
) -> u64:
    """The slot's log begins or ends."""
    WRITE_ONCE(slot.dirty_bitmap, bitmap)
    if not protect:
        return 0
    flush: u64 = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    for gfn in range(slot.base_gfn, slot.base_gfn + slot.npages):
        for level in range(PG_LEVEL_4K, KVM_MAX_HUGEPAGE_LEVEL + 1):
            flush |= rmap_write_protect(gfn_to_rmap(slot, gfn, level), 0)
    if flush:
        kvm_flush_remote_tlbs(kvm)
    kvm_mmu_unlock(kvm)
    return 0


@kernel
def kvm_arch_mmu_enable_log_dirty_pt_masked(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], offset: u64, mask: u64
) -> None:
    """Take W of the pages' leaves away."""
    kvm_mmu_write_protect_pt_masked(slot, offset, mask)
