"""L1 takes translations of its guests away: H_TLB_INVALIDATE.

Rules
-----
* Each runs under the guest's ``tlb_lock``, against L2's faults, and ``mmu_lock``, against all
  else. The reverse map is not looked at: entries of it become stale.
* Who works on a guest has a reference. ``TLBIE_ALL_TAKES_REF`` 0 is Linux, whose loop over all
  guests of L1 has none.
* L1 can have tables freed as often as it likes, so it waits for the grace period that they are
  freed after: they don't pile up.
* ``RIC_ALL`` means too that L1 may have changed the guest's partition-table entry. A guest
  that has none any more loses its number.

Source: arch/powerpc/kvm/book3s_hv_nested.c (``kvmhv_emulate_tlbie_tlb_addr``,
``kvmhv_emulate_tlbie_lpid``, ``kvmhv_emulate_tlbie_all_lpid``).
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import KVM_MAX_NESTED_GUESTS, Kvm, KvmNestedGuest
from mkold.kvm.powerpc.nested.guest import (
    kvmhv_find_nested,
    kvmhv_get_nested,
    kvmhv_put_nested,
    kvmhv_remove_nested,
)
from mkold.kvm.powerpc.nested.l1_memory import kvmhv_update_ptbl_cache
from mkold.kvm.powerpc.nested.shadow import kvmhv_free_shadow, kvmhv_invalidate_shadow_pte
from mkold.lang import NULL, Ptr, addr, kernel, mutex_lock, mutex_unlock, parameter, u64
from mkold.sync.rcu import RCU_QHIMARK, rcu_do_batch

# How much goes: translations alone, or what the partition table said too.
RIC_TLB = 0
RIC_ALL = 2
TLBIE_ALL_TAKES_REF = parameter("TLBIE_ALL_TAKES_REF", 1)


@kernel
def kvmhv_emulate_tlbie_tlb_addr(kvm: Ptr[Kvm], l1_lpid: u64, n_gfn: u64, npages: u64) -> None:
    """``npages`` pages of L2 from ``n_gfn`` on."""
    gp = kvmhv_get_nested(kvm, l1_lpid, 0)
    if gp == NULL:
        return
    end = n_gfn + npages
    mutex_lock(gp.tlb_lock)
    while n_gfn < end:
        kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
        n_gfn = kvmhv_invalidate_shadow_pte(kvm, gp, n_gfn)
        kvm_mmu_unlock(kvm)
    mutex_unlock(gp.tlb_lock)
    kvmhv_put_nested(kvm, gp)


@kernel
def kvmhv_flush_nested(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest]) -> None:
    """Under ``tlb_lock``: nothing of the guest's is mapped; ask L1 anew where its table is."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvmhv_free_shadow(kvm, gp)
    kvm_mmu_unlock(kvm)
    kvmhv_update_ptbl_cache(kvm, gp)
    if gp.l1_gr_to_hr == 0:
        kvmhv_remove_nested(kvm, gp)


@kernel
def kvmhv_emulate_tlbie_gp(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], ric: u64) -> None:
    """All of one guest. Sleeps."""
    mutex_lock(gp.tlb_lock)
    if ric == RIC_ALL:
        kvmhv_flush_nested(kvm, gp)
    else:
        kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
        kvmhv_free_shadow(kvm, gp)
        kvm_mmu_unlock(kvm)
    mutex_unlock(gp.tlb_lock)
    if RCU_QHIMARK:
        rcu_do_batch()


@kernel
def kvmhv_emulate_tlbie_lpid(kvm: Ptr[Kvm], l1_lpid: u64, ric: u64) -> None:
    """All of the guest of that number, if there is one."""
    gp = kvmhv_get_nested(kvm, l1_lpid, 0)
    if gp == NULL:
        return
    kvmhv_emulate_tlbie_gp(kvm, gp, ric)
    kvmhv_put_nested(kvm, gp)


@kernel
def kvmhv_emulate_tlbie_all_lpid(kvm: Ptr[Kvm], ric: u64) -> None:
    """All of all of L1's guests."""
    for l1_lpid in range(1, KVM_MAX_NESTED_GUESTS):
        if TLBIE_ALL_TAKES_REF:
            kvmhv_emulate_tlbie_lpid(kvm, l1_lpid, ric)
        else:
            kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
            gp = kvmhv_find_nested(kvm, l1_lpid)
            kvm_mmu_unlock(kvm)
            if gp != NULL:
                kvmhv_emulate_tlbie_gp(kvm, gp, ric)
