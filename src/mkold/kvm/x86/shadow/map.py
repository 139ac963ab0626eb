"""Putting a leaf in place, under ``mmu_lock`` held for writing; and direct tables down to it.

Rules
-----
* A leaf is in the chain of its page's word, at its level; it is present before it is listed.
* A larger leaf gives way to tables, and tables to a larger leaf: they are unlinked, and stay to
  be found again.
* A page that a table of the guest's own lies in is writable only if that may fall out of step
  (``unsync``).

Source: arch/x86/kvm/mmu/mmu.c (``make_spte``, ``mmu_set_spte``, ``direct_map``).
"""

from __future__ import annotations

from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.mmu.memslot import mark_page_dirty_in_slot
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    KVM_PAGES_PER_HPAGE,
    PG_LEVEL_4K,
    PT_WRITABLE_MASK,
    ROOT_LEVEL,
    SHADOW_HOST_WRITABLE_MASK,
    is_last_spte,
    is_shadow_present_pte,
    make_leaf_spte,
    spte_index,
    spte_to_pfn,
)
from mkold.kvm.x86.mmu.unsync import CAN_UNSYNC, mmu_try_to_unsync_pages
from mkold.kvm.x86.shadow.pages import (
    ACC_ALL,
    kvm_mmu_page_set_translation,
    role_of,
)
from mkold.kvm.x86.shadow.rmap_zap import rmap_add
from mkold.kvm.x86.shadow.spte_update import mmu_spte_update
from mkold.kvm.x86.shadow.zap import kvm_mmu_get_child_sp, mmu_page_zap_pte
from mkold.lang import READ_ONCE, Ptr, kernel, u64


@kernel
def make_spte(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], gfn: u64, pfn: u64, level: u64, writable: u64
) -> u64:
    """The leaf that maps ``pfn``, the frame of ``gfn``, and those beside it at ``level``."""
    if writable and mmu_try_to_unsync_pages(kvm, gfn, CAN_UNSYNC):
        writable = 0
    if writable:
        mark_page_dirty_in_slot(slot, gfn)
    first = pfn - (gfn & (KVM_PAGES_PER_HPAGE(level) - 1))
    return make_leaf_spte(not KVM_AD_ENABLED, first, level, writable)


@kernel
def make_indirect_spte(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], gfn: u64, pfn: u64, access: u64, host_writable: u64,
    can_unsync: u64,
) -> u64:  # fmt: skip
    """The leaf that maps ``pfn``, the frame of ``gfn``, of which the guest's own entry allows
    ``access``."""
    writable: u64 = host_writable and (access & PT_WRITABLE_MASK) != 0
    if writable and mmu_try_to_unsync_pages(kvm, gfn, can_unsync):
        writable = 0
    if writable:
        mark_page_dirty_in_slot(slot, gfn)
    spte = make_leaf_spte(not KVM_AD_ENABLED, pfn, PG_LEVEL_4K, writable)
    if host_writable:
        spte |= SHADOW_HOST_WRITABLE_MASK
    return spte


@kernel
def mmu_set_spte(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot],
    sp: Ptr[KvmMmuPage], index: u64, gfn: u64, spte: u64,
) -> None:  # fmt: skip
    """Entry ``index`` of ``sp`` maps ``gfn``, and what is beside it, by the leaf ``spte``."""
    sptep = sp_spt(sp) + index
    old = READ_ONCE(sptep.value)
    flush: u64 = 0
    was_rmapped: u64 = 0
    if is_shadow_present_pte(old):
        if is_last_spte(old, sp.level) and spte_to_pfn(old) == spte_to_pfn(spte):
            was_rmapped = 1
        else:
            mmu_page_zap_pte(kvm, sp, index)
            flush = 1
    if not was_rmapped or old != spte:
        flush |= mmu_spte_update(sptep, spte)
    if flush:
        kvm_flush_remote_tlbs(kvm)
    if not was_rmapped:
        kvm_mmu_page_set_translation(sp, index, gfn)
        rmap_add(vcpu, slot, sptep, gfn, sp.level)


@kernel
def direct_map(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot],
    gfn: u64, pfn: u64, level: u64, writable: u64,
) -> Ptr[KvmMmuPage]:  # fmt: skip
    """Under the lock: map ``gfn`` by a leaf of ``level``; the table that it is in."""
    sp = vcpu.arch.root
    for at in range(ROOT_LEVEL, level, -1):
        first = gfn & ~(KVM_PAGES_PER_HPAGE(at) - 1)
        role = role_of(1, ACC_ALL)
        sp = kvm_mmu_get_child_sp(kvm, vcpu, sp, spte_index(gfn, at), first, role)
    spte = make_spte(kvm, slot, gfn, pfn, level, writable)
    mmu_set_spte(kvm, vcpu, slot, sp, spte_index(gfn, level), gfn, spte)
    return sp
