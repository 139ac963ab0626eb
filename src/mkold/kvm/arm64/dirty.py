"""The dirty log: write protection, splitting blocks early, and taking the log.

Rules
-----
* With a log every page is mapped by itself; a page that is writable is in the log
  (``mmu.mark_page_dirty_in_slot``). Taking the log clears its bits, then protects the pages
  that had one, under ``mmu_lock`` for writing, and then flushes, if there was any.
* Tables for splitting are taken with nothing held, between two pieces of the range.

Source: arch/arm64/kvm/mmu.c (``kvm_mmu_wp_memory_region``, ``kvm_mmu_split_huge_pages``,
``kvm_arch_mmu_enable_log_dirty_pt_masked``), virt/kvm/kvm_main.c
(``kvm_get_dirty_log_protect``).
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import KVM_MMU_CACHE_OBJECTS, Kvm
from mkold.kvm.arm64.pgtable.attr import kvm_pgtable_stage2_wrprotect
from mkold.kvm.arm64.pgtable.geometry import walk_boundary
from mkold.kvm.arm64.pgtable.split import kvm_pgtable_stage2_split
from mkold.kvm.arm64.pgtable.tables import kvm_mmu_topup_memory_cache
from mkold.kvm.arm64.pgtable.tlb import kvm_tlb_flush_vmid_range
from mkold.kvm.bitops import __ffs, __fls
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.types import MemorySlot
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, addr, kernel, u64, xchg


@kernel
def kvm_mmu_wp_memory_region(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> None:
    """A log begins: no page of the slot can be written without a fault any more."""
    end = slot.base_gfn + slot.npages
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_pgtable_stage2_wrprotect(kvm, slot.base_gfn, end)
    kvm_mmu_unlock(kvm)
    kvm_tlb_flush_vmid_range(kvm, slot.base_gfn, slot.npages)


@kernel
def kvm_arch_commit_memory_region(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64], protect: u64
) -> u64:
    """The slot's log begins or ends; blocks are split by faults, as eager splitting is off."""
    WRITE_ONCE(slot.dirty_bitmap, bitmap)
    if protect:
        kvm_mmu_wp_memory_region(kvm, slot)
    return 0


@kernel
def kvm_mmu_split_huge_pages(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Split the blocks of ``[gfn, end)``; 0, or 1 if there is no memory."""
    while gfn < end:
        after = min(walk_boundary(gfn, 2), end)
        store = addr(kvm.arch.mmu.split_page_cache)
        if kvm_mmu_topup_memory_cache(kvm, store, KVM_MMU_CACHE_OBJECTS):
            return 1
        kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
        kvm_pgtable_stage2_split(kvm, gfn, after)
        kvm_mmu_unlock(kvm)
        gfn = after
    return 0


@kernel
def wrprotect_logged(kvm: Ptr[Kvm], first: u64, mask: u64) -> None:
    """Under ``mmu_lock``: protect the pages from ``first`` on that have a bit in ``mask``."""
    for i in range(64):
        if (mask >> i) & 1:
            kvm_pgtable_stage2_wrprotect(kvm, first + i, first + i + 1)


@kernel
def kvm_arch_mmu_enable_log_dirty_pt_masked(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], offset: u64, mask: u64
) -> None:
    """Protect the pages that ``mask`` names, and those between them."""
    first = slot.base_gfn + offset
    kvm_pgtable_stage2_wrprotect(kvm, first + __ffs(mask), first + __fls(mask) + 1)


@kernel
def kvm_get_dirty_log_protect(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64]) -> u64:
    """Move the slot's dirty pages to ``log`` (one bit a page) and start afresh; 1 if there is
    no log."""
    bitmap = READ_ONCE(slot.dirty_bitmap)
    if bitmap == NULL:
        return 1
    flush: u64 = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    for i in range((slot.npages + 63) >> 6):
        log[i] = xchg(bitmap[i], 0)
        if log[i]:
            flush = 1
            wrprotect_logged(kvm, slot.base_gfn + 64 * i, log[i])
    kvm_mmu_unlock(kvm)
    if flush:
        kvm_tlb_flush_vmid_range(kvm, slot.base_gfn, slot.npages)
    return 0
