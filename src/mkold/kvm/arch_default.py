"""What hooks stand for on an architecture that has nothing of its own to say.

An architecture lists ``DEFAULTS`` before its own hooks.
"""

from __future__ import annotations

from mkold.kvm.arch import kvm_unmap_gfn_range
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.types import Kvm, MemorySlot
from mkold.lang import Ptr, addr, kernel, u64


@kernel
def kvm_arch_create_memslot(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> u64:
    """Nothing is kept by page."""
    return 0


@kernel
def kvm_arch_commit_memory_region(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64], protect: u64
) -> u64:
    """There is no dirty log."""
    return 1


@kernel
def kvm_arch_get_dirty_log(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64]) -> u64:
    """There is no dirty log."""
    return 1


@kernel
def kvm_arch_mmu_enable_log_dirty_pt_masked(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], offset: u64, mask: u64
) -> None:
    """There is no dirty log."""


@kernel
def kvm_arch_has_test_clear_young() -> u64:
    """There is no fast path."""
    return 0


@kernel
def kvm_arch_test_clear_young(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """There is no fast path."""
    return 1, 0


@kernel
def kvm_arch_flush_remote_tlbs(kvm: Ptr[Kvm]) -> u64:
    """Post requests."""
    return 1


@kernel
def kvm_arch_flush_remote_tlbs_range(kvm: Ptr[Kvm], gfn: u64, nr_pages: u64) -> u64:
    """Post requests."""
    return 1


@kernel
def kvm_arch_flush_shadow_memslot(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> None:
    """Its pages are unmapped."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    if kvm_unmap_gfn_range(kvm, slot.base_gfn, slot.base_gfn + slot.npages):
        kvm_flush_remote_tlbs(kvm)
    kvm_mmu_unlock(kvm)


DEFAULTS = {
    function.name: function
    for function in (
        kvm_arch_create_memslot,
        kvm_arch_commit_memory_region,
        kvm_arch_get_dirty_log,
        kvm_arch_mmu_enable_log_dirty_pt_masked,
        kvm_arch_has_test_clear_young,
        kvm_arch_test_clear_young,
        kvm_arch_flush_remote_tlbs,
        kvm_arch_flush_remote_tlbs_range,
        kvm_arch_flush_shadow_memslot,
    )
}
