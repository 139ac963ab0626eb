"""The hooks of the dirty log where shadow tables map all of the guest.

Rules
-----
* A log that begins protects leaves of all levels; large ones are not split, but the first write
  to one lets base pages take its place, and those of its pages that are not touched are gone.
* A log that begins with all bits set protects nothing: as long as the VM's logs do that, large
  leaves are protected where their pages are cleared.
* Where a log ends, leaves that a larger one could take the place of are zapped.

Source: arch/x86/kvm/x86.c (``kvm_mmu_slot_apply_flags``), mmu.c
(``kvm_mmu_slot_remove_write_access``, ``kvm_arch_mmu_enable_log_dirty_pt_masked``,
``kvm_rmap_zap_collapsible_sptes``). The kernel finds what it zaps by the reverse map, and skips
what is not direct; here the direct tables are looked up.
"""

from __future__ import annotations

from mkold.kvm.bitops import __ffs, __fls
from mkold.kvm.dirty_log import kvm_dirty_log_manual_protect_and_init_set
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, sp_spt
from mkold.kvm.x86.mmu.memslot import kvm_mmu_max_mapping_level
from mkold.kvm.x86.mmu.spte import (
    KVM_PAGES_PER_HPAGE,
    PG_LEVEL_2M,
    PG_LEVEL_4K,
    SPTE_ENT_PER_PAGE,
    level_shift,
)
from mkold.kvm.x86.shadow.memslot_rmap import KVM_MAX_HUGEPAGE_LEVEL, gfn_to_rmap
from mkold.kvm.x86.shadow.pages import ACC_ALL, kvm_mmu_find_shadow_page, role_of
from mkold.kvm.x86.shadow.write_protect import (
    kvm_mmu_slot_gfn_write_protect,
    kvm_mmu_write_protect_pt_masked,
    rmap_write_protect,
)
from mkold.kvm.x86.shadow.zap import drop_spte
from mkold.kvm.x86.tdp.iter import is_leaf
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, addr, kernel, u64


@kernel
def kvm_mmu_slot_remove_write_access(slot: Ptr[MemorySlot]) -> u64:
    """Every page's next write faults; 1 if the TLBs have to be flushed."""
    flush: u64 = 0
    for gfn in range(slot.base_gfn, slot.base_gfn + slot.npages):
        for level in range(PG_LEVEL_4K, KVM_MAX_HUGEPAGE_LEVEL + 1):
            flush |= rmap_write_protect(gfn_to_rmap(slot, gfn, level), 0)
    return flush


@kernel
def zap_collapsible_sptes(kvm: Ptr[Kvm], gfn: u64, level: u64) -> u64:
    """Zap the leaves of the direct table of ``level`` for ``gfn``; 1 if there were any."""
    first = gfn & ~(KVM_PAGES_PER_HPAGE(level + 1) - 1)
    sp = kvm_mmu_find_shadow_page(kvm, first, level, role_of(1, ACC_ALL))
    if sp == NULL:
        return 0
    zapped: u64 = 0
    for i in range(SPTE_ENT_PER_PAGE):
        if is_leaf(READ_ONCE(sp_spt(sp)[i]), level):
            drop_spte(kvm, sp, i)
            zapped = 1
    return zapped


@kernel
def kvm_rmap_zap_collapsible_sptes(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> u64:
    """Zap what the host's memory lets a larger leaf map; 1 if the TLBs have to be flushed."""
    flush: u64 = 0
    end = slot.base_gfn + slot.npages
    for level in range(PG_LEVEL_4K, KVM_MAX_HUGEPAGE_LEVEL):
        gfn = slot.base_gfn
        while gfn < end:
            if kvm_mmu_max_mapping_level(kvm, slot, gfn) > level:
                flush |= zap_collapsible_sptes(kvm, gfn, level)
            shift = level_shift(level + 1)
            gfn = ((gfn >> shift) + 1) << shift
    return flush


@kernel
def kvm_arch_commit_memory_region(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64], protect: u64
) -> u64:
    """The slot's log begins or ends."""
    WRITE_ONCE(slot.dirty_bitmap, bitmap)
    if bitmap != NULL and not protect:
        return 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    if bitmap != NULL:
        flush = kvm_mmu_slot_remove_write_access(slot)
    else:
        flush = kvm_rmap_zap_collapsible_sptes(kvm, slot)
    if flush:
        kvm_flush_remote_tlbs(kvm)
    kvm_mmu_unlock(kvm)
    return 0


@kernel
def kvm_arch_mmu_enable_log_dirty_pt_masked(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], offset: u64, mask: u64
) -> None:
    """Take W of the pages' leaves away."""
    if kvm_dirty_log_manual_protect_and_init_set(kvm):
        first = slot.base_gfn + offset + __ffs(mask)
        last = slot.base_gfn + offset + __fls(mask)
        kvm_mmu_slot_gfn_write_protect(slot, first, PG_LEVEL_2M)
        if first >> level_shift(PG_LEVEL_2M) != last >> level_shift(PG_LEVEL_2M):
            kvm_mmu_slot_gfn_write_protect(slot, last, PG_LEVEL_2M)
    kvm_mmu_write_protect_pt_masked(slot, offset, mask)
