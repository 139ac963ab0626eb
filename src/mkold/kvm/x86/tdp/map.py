"""A fault's page is mapped: ``kvm_tdp_mmu_map``, under ``mmu_lock`` held for reading.

Rules
-----
* On the way down a missing table is linked in, and a large leaf that is too large is split;
  up to 6.2 it is zapped.
* A frozen entry, or a compare-and-swap that is lost, lets the guest try again: the new table is
  freed at once, nobody has seen it.
* A leaf that allows the access already is left alone.
* A page of a logged slot is marked dirty before its writable leaf is there.
* Where the guest has a guest, a page that one of its tables for it lies in is writable only if
  what follows that table may fall out of step (``mmu.unsync``).
* A leaf that takes a table's place: the table is taken down, then the range is flushed.

Source: arch/x86/kvm/mmu/tdp_mmu.c (``kvm_tdp_mmu_map``,
``tdp_mmu_map_handle_target_level``), spte.c (``make_spte``).
"""

from __future__ import annotations

from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, sp_spt
from mkold.kvm.x86.mmu.flush import kvm_flush_remote_tlbs_gfn
from mkold.kvm.x86.mmu.memslot import mark_page_dirty_in_slot
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    KVM_PAGES_PER_HPAGE,
    LINUX_VERSION,
    PT_PRESENT_MASK,
    PT_WRITABLE_MASK,
    ROOT_LEVEL,
    is_frozen_spte,
    is_large_pte,
    is_shadow_present_pte,
    make_leaf_spte,
    make_nonleaf_spte,
    spte_index,
    spte_to_child_pt,
)
from mkold.kvm.x86.mmu.unsync import CAN_UNSYNC, TDP_MMU_ENABLED, mmu_try_to_unsync_pages
from mkold.kvm.x86.tdp.change import tdp_mmu_link_sp, tdp_mmu_set_spte_atomic
from mkold.kvm.x86.tdp.huge import tdp_mmu_split_huge_page
from mkold.kvm.x86.tdp.iter import SHARED, is_leaf
from mkold.kvm.x86.tdp.pages import tdp_account_mmu_page, tdp_mmu_alloc_sp, tdp_mmu_free_sp
from mkold.kvm.x86.tdp.zap import tdp_mmu_zap_spte_atomic
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    cast,
    kernel,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)

RET_PF_RETRY = 0
RET_PF_FIXED = 1
RET_PF_SPURIOUS = 2
RET_PF_ENOMEM = 3


@kernel
def is_access_allowed(spte: u64, write: u64) -> bool:
    """Whether the hardware lets a present leaf be read, or written to."""
    return (spte & (PT_WRITABLE_MASK if write else PT_PRESENT_MASK)) != 0


@kernel
def make_spte(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], gfn: u64, pfn: u64, level: u64, writable: u64
) -> u64:
    """The leaf for ``gfn``, which the host has in frame ``pfn``; if it may be written to, the
    page is dirty from here on."""
    first = pfn & ~(KVM_PAGES_PER_HPAGE(level) - 1)
    if TDP_MMU_ENABLED and writable and mmu_try_to_unsync_pages(kvm, gfn, CAN_UNSYNC):
        writable = 0
    if writable:
        mark_page_dirty_in_slot(slot, gfn)
    return make_leaf_spte(not KVM_AD_ENABLED, first, level, writable)


@kernel
def tdp_mmu_map_handle_target_level(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], sptep: Ptr[u64], old: u64,
    gfn: u64, pfn: u64, level: u64, write: u64, writable: u64,
) -> u64:  # fmt: skip
    """Set the leaf of ``gfn`` in the place of ``old``; RET_PF_*."""
    if is_leaf(old, level) and is_access_allowed(old, write):
        return RET_PF_SPURIOUS
    new = make_spte(kvm, slot, gfn, pfn, level, writable)
    if new == old:
        return RET_PF_SPURIOUS
    if not tdp_mmu_set_spte_atomic(kvm, sptep, old, new, level):
        return RET_PF_RETRY
    if is_shadow_present_pte(old) and not is_leaf(old, level):
        kvm_flush_remote_tlbs_gfn(kvm, gfn, level)
    return RET_PF_FIXED


@kernel
def tdp_mmu_fill_gap(
    kvm: Ptr[Kvm], sptep: Ptr[u64], old: u64, gfn: u64, level: u64
) -> tuple[u64, u64]:
    """Put a table in the place of ``old``, which is not present or a leaf.

    Returns
    -------
    RET_PF_FIXED, or what the fault is to return; and the entry that points to the table
    """
    if LINUX_VERSION < 603 and is_shadow_present_pte(old):
        if not tdp_mmu_zap_spte_atomic(kvm, sptep, old, gfn, level):
            return RET_PF_RETRY, 0
        old = READ_ONCE(sptep.value)
        if is_frozen_spte(old):
            return RET_PF_RETRY, 0
    sp = tdp_mmu_alloc_sp(kvm, level - 1, gfn)
    if sp == NULL:
        return RET_PF_ENOMEM, 0
    new = make_nonleaf_spte(sp)
    if is_shadow_present_pte(old):
        done = tdp_mmu_split_huge_page(kvm, sptep, old, level, sp, SHARED)
    else:
        done = tdp_mmu_link_sp(kvm, sptep, old, new, level, SHARED)
        if done:
            tdp_account_mmu_page(kvm)
    if not done:
        tdp_mmu_free_sp(cast(u64, sp))
        return RET_PF_RETRY, 0
    return RET_PF_FIXED, new


@kernel
def kvm_tdp_mmu_map(
    kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], slot: Ptr[MemorySlot],
    gfn: u64, pfn: u64, goal_level: u64, write: u64, writable: u64,
) -> u64:  # fmt: skip
    """Map ``gfn`` to the host's frame ``pfn`` by a leaf of ``goal_level``; RET_PF_*."""
    level: u64 = ROOT_LEVEL
    result: u64 = RET_PF_RETRY
    rcu_read_lock()
    sptep = sp_spt(root) + spte_index(gfn, level)
    spte = READ_ONCE(sptep.value)
    while not is_frozen_spte(spte):
        if level == goal_level:
            result = tdp_mmu_map_handle_target_level(
                kvm, slot, sptep, spte, gfn, pfn, level, write, writable
            )
            break
        if not is_shadow_present_pte(spte) or is_large_pte(spte):
            result, spte = tdp_mmu_fill_gap(kvm, sptep, spte, gfn, level)
            if result != RET_PF_FIXED:
                break
        level -= 1
        result = RET_PF_RETRY
        sptep = spte_to_child_pt(spte) + spte_index(gfn, level)
        spte = READ_ONCE(sptep.value)
    rcu_read_unlock()
    return result
