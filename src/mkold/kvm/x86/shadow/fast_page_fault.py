"""A fault that needs no more than bits of the SPTE that is there: without ``mmu_lock``.

Rules
-----
* While a vCPU walks, its mode is READING_SHADOW_PAGE_TABLES, set with a full barrier behind; it
  pairs with the full barrier of a flush request. Who frees tables unlinks them, posts the
  request, and waits until the mode is another: either the walk finds the table unlinked, or the
  freer finds the mode.
* One compare-and-swap changes the SPTE: an access-tracked one is put back, and W is set on one
  that the MMU lets write. After some losses the slow path is taken.
* The dirty log is told after the compare-and-swap.

Source: arch/x86/kvm/mmu/mmu.c (``fast_page_fault``, ``walk_shadow_page_lockless_begin``).
Known limits: a reserved bit, and no-execute faults, are not modelled.
"""

from __future__ import annotations

from mkold.kvm.types import OUTSIDE_GUEST_MODE, READING_SHADOW_PAGE_TABLES, MemorySlot
from mkold.kvm.x86.asm.kvm_host import KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    PG_LEVEL_4K,
    PT_WRITABLE_MASK,
    ROOT_LEVEL,
    is_access_track_spte,
    is_last_spte,
    is_mmu_writable_spte,
    is_shadow_present_pte,
    is_writable_pte,
    restore_acc_track_spte,
    spte_index,
    spte_to_child_pt,
)
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    atomic_or,
    kernel,
    smp_store_mb,
    smp_store_release,
    try_cmpxchg,
    u64,
)

FAST_PF_TRIES = 4


@kernel
def walk_shadow_page_lockless_begin(vcpu: Ptr[Vcpu]) -> None:
    """``vcpu``, which is out of guest mode, walks tables from here on.

    Ordering
    --------
    A full barrier; pairs with the one of ``kvm_make_request``.
    """
    smp_store_mb(vcpu.mode, READING_SHADOW_PAGE_TABLES)


@kernel
def walk_shadow_page_lockless_end(vcpu: Ptr[Vcpu]) -> None:
    """What the walk has found may not be touched any more: a release."""
    smp_store_release(vcpu.mode, OUTSIDE_GUEST_MODE)


@kernel
def shadow_walk(root: Ptr[KvmMmuPage], gfn: u64) -> tuple[Ptr[u64], u64, u64]:
    """Walk down to the entry where the translation of ``gfn`` ends.

    Returns
    -------
    sptep, spte, level
    """
    level: u64 = ROOT_LEVEL
    sptep = sp_spt(root) + spte_index(gfn, level)
    spte = READ_ONCE(sptep.value)
    while is_shadow_present_pte(spte) and not is_last_spte(spte, level):
        level -= 1
        sptep = spte_to_child_pt(spte) + spte_index(gfn, level)
        spte = READ_ONCE(sptep.value)
    return sptep, spte, level


@kernel
def mark_page_dirty_in_slot(slot: Ptr[MemorySlot], gfn: u64) -> None:
    """A page of the slot was written to, or may be from here on."""
    bitmap = READ_ONCE(slot.dirty_bitmap)
    if bitmap != NULL:
        n = gfn - slot.base_gfn
        atomic_or(bitmap[n >> 6], 1 << (n & 63))


@kernel
def is_access_allowed(spte: u64, write: u64) -> bool:
    """Whether the hardware lets the access pass."""
    if write:
        return is_writable_pte(spte)
    return not is_access_track_spte(spte)


@kernel
def fast_pf_new_spte(slot: Ptr[MemorySlot], spte: u64, level: u64, write: u64) -> u64:
    """What a leaf that refuses the access can become without the lock; itself: nothing."""
    new = spte
    if is_access_track_spte(spte):
        new = restore_acc_track_spte(spte)
    if write and is_mmu_writable_spte(spte):
        if level > PG_LEVEL_4K and READ_ONCE(slot.dirty_bitmap) != NULL:
            return spte
        new |= PT_WRITABLE_MASK
    return new if is_access_allowed(new, write) else spte


@kernel
def fast_pf_fix_spte(root: Ptr[KvmMmuPage], slot: Ptr[MemorySlot], gfn: u64, write: u64) -> u64:
    """Walk, and change the leaf; 1 if the access can be tried again."""
    for _ in range(FAST_PF_TRIES):
        sptep, spte, level = shadow_walk(root, gfn)
        if not is_shadow_present_pte(spte):
            return 0
        if is_access_allowed(spte, write):
            return 1
        new = fast_pf_new_spte(slot, spte, level, write)
        if new == spte:
            return 0
        ok, _seen = try_cmpxchg(sptep.value, spte, new)
        if ok:
            if is_writable_pte(new) and not is_writable_pte(spte):
                mark_page_dirty_in_slot(slot, gfn)
            return 1
    return 0


@kernel
def fast_page_fault(vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, write: u64) -> u64:
    """1 if the access can be tried again, 0 if the lock is needed."""
    if KVM_AD_ENABLED and not write:
        return 0
    walk_shadow_page_lockless_begin(vcpu)
    fixed = fast_pf_fix_spte(vcpu.arch.root, slot, gfn, write)
    walk_shadow_page_lockless_end(vcpu)
    return fixed
