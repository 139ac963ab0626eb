"""Fast page fault: a fault that only needs a bit, without ``mmu_lock``.

Rules
-----
* It is for a write to a page that is present, and where the hardware has no accessed bit, for
  what is not present to it.
* In an RCU read section it finds the leaf, which has to be present to KVM, restores what was
  saved to track accesses, gives a write W if bit 58 says that nobody has to be asked (a large
  leaf of a logged slot: not), and puts that in place by one compare-and-swap. It tries again
  if it loses; four times.
* Having set W it marks the page dirty, after the compare-and-swap.

Source: arch/x86/kvm/mmu/mmu.c (``fast_page_fault``, ``page_fault_can_be_fast``,
``fast_pf_fix_direct_spte``).
"""

from __future__ import annotations

from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.mmu.memslot import kvm_slot_dirty_track_enabled, mark_page_dirty_in_slot
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    PG_LEVEL_4K,
    PT_WRITABLE_MASK,
    is_access_track_spte,
    is_mmu_writable_spte,
    is_writable_pte,
    restore_acc_track_spte,
)
from mkold.kvm.x86.tdp.iter import is_leaf, tdp_walk
from mkold.kvm.x86.tdp.map import (
    RET_PF_FIXED,
    RET_PF_RETRY,
    RET_PF_SPURIOUS,
    is_access_allowed,
)
from mkold.lang import (
    Ptr,
    kernel,
    parameter,
    rcu_read_lock,
    rcu_read_unlock,
    try_cmpxchg,
    u64,
)

FAST_PF_TRIES = parameter("FAST_PF_TRIES", 5)
# 0 marks the page dirty before the compare-and-swap: a seeded fault.
MARK_DIRTY_AFTER = parameter("MARK_DIRTY_AFTER", 1)


@kernel
def page_fault_can_be_fast(vcpu: Ptr[Vcpu], write: u64) -> bool:
    """Whether a bit may be all that is missing."""
    if vcpu.arch.exit_qualification == 0:
        return not KVM_AD_ENABLED
    return write != 0


@kernel
def fast_pf_fixed_spte(slot: Ptr[MemorySlot], spte: u64, level: u64, write: u64) -> u64:
    """The leaf ``spte`` with what the access needs, as far as nobody has to be asked."""
    new = spte
    if not KVM_AD_ENABLED and is_access_track_spte(spte):
        new = restore_acc_track_spte(spte)
    if write and is_mmu_writable_spte(spte):
        if level > PG_LEVEL_4K and kvm_slot_dirty_track_enabled(slot):
            return spte
        new |= PT_WRITABLE_MASK
    return new


@kernel
def fast_pf_fix_direct_spte(
    slot: Ptr[MemorySlot], gfn: u64, sptep: Ptr[u64], old: u64, new: u64
) -> bool:
    """Put ``new`` in the place of ``old`` if that is still there; whether it was."""
    gives_write = is_writable_pte(new) and not is_writable_pte(old)
    if gives_write and not MARK_DIRTY_AFTER:
        mark_page_dirty_in_slot(slot, gfn)
    ok, _seen = try_cmpxchg(sptep.value, old, new)
    if not ok:
        return False
    if gives_write and MARK_DIRTY_AFTER:
        mark_page_dirty_in_slot(slot, gfn)
    return True


@kernel
def fast_pf_try(
    root: Ptr[KvmMmuPage], slot: Ptr[MemorySlot], gfn: u64, write: u64
) -> tuple[u64, u64]:
    """Look at the leaf of ``gfn`` once.

    Returns
    -------
    1 if it is worth another look, and RET_PF_* (RET_PF_RETRY: the slow path has to do it)
    """
    sptep, spte, level = tdp_walk(sp_spt(root), gfn, PG_LEVEL_4K)
    if not is_leaf(spte, level):
        return 0, RET_PF_RETRY
    if is_access_allowed(spte, write):
        return 0, RET_PF_SPURIOUS
    new = fast_pf_fixed_spte(slot, spte, level, write)
    if new == spte or not is_access_allowed(new, write):
        return 0, RET_PF_RETRY
    if fast_pf_fix_direct_spte(slot, gfn, sptep, spte, new):
        return 0, RET_PF_FIXED
    return 1, RET_PF_RETRY


@kernel
def fast_page_fault(vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, write: u64) -> u64:
    """Give the access what it needs if that is a bit; RET_PF_*, RET_PF_RETRY: it could not."""
    if not page_fault_can_be_fast(vcpu, write):
        return RET_PF_RETRY
    result: u64 = RET_PF_RETRY
    rcu_read_lock()
    for _ in range(FAST_PF_TRIES):
        again, result = fast_pf_try(vcpu.arch.root, slot, gfn, write)
        if not again:
            break
    rcu_read_unlock()
    return result
