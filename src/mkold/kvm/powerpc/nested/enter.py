"""A vCPU goes into an L2 guest and comes back; the VM's switch for guests of its own.

Rules
-----
* A vCPU that runs L2 holds a reference on the guest, and its hardware walks the shadow tree
  (``radix.hw``). It loses its TLB on the way in and on the way out, as the TLB knows no
  guest's number.
* Everything goes at once when the VM goes or leaves radix mode. No vCPU is in guest mode
  then; one that was in L2 still has its guest, without shadow entries and without a number,
  and its next fault gives it back to L1.
* Out of radix mode there are no guests, and the words of the reverse map are the hash table's.
  So a guest is entered under ``mmu_setup_lock``: none comes while the mode changes, after the
  old ones were released. (In Linux a vCPU that makes a hypercall counts as running.)

Source: arch/powerpc/kvm/book3s_hv_nested.c (``kvmhv_enter_nested_guest``,
``kvmhv_set_partition_table``, ``kvmhv_release_all_nested``), book3s_hv.c (``nesting_enabled``).
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import (
    KVM_MAX_NESTED_GUESTS,
    Kvm,
    KvmNestedGuest,
    RmapNested,
    Vcpu,
)
from mkold.kvm.powerpc.nested.guest import (
    GUESTS,
    NODES,
    kvmhv_get_nested,
    kvmhv_put_nested,
    kvmhv_remove_nested,
)
from mkold.kvm.powerpc.nested.l1_memory import PTCR_SHIFT, PTCR_VALID, kvmhv_update_ptbl_cache
from mkold.kvm.powerpc.nested.shadow import kvmhv_free_shadow
from mkold.kvm.powerpc.nested.spread import kvmhv_remove_nest_rmap_list
from mkold.kvm.tlb import kvm_make_request
from mkold.kvm.types import REQ_TLB_FLUSH_ALL
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    mutex_lock,
    mutex_unlock,
    smp_load_acquire,
    u64,
)
from mkold.mm.slab import kmem_cache_init
from mkold.sync.rcu import RCU_QHIMARK, rcu_core, rcu_do_batch


@kernel
def kvmhv_enable_nested(kvm: Ptr[Kvm]) -> u64:
    """KVM_CAP_PPC_NESTED_HV: the VM may have guests of its own; 0, or 1: it is no radix VM.

    Call before its first vCPU runs.
    """
    if not READ_ONCE(kvm.arch.radix):
        return 1
    kmem_cache_init(addr(kvm.arch.nested_caches[GUESTS]), KvmNestedGuest.size, 0)
    kmem_cache_init(addr(kvm.arch.nested_caches[NODES]), RmapNested.size, 0)
    WRITE_ONCE(kvm.arch.nested_enable, 1)
    return 0


@kernel
def kvmhv_set_partition_table(kvm: Ptr[Kvm], gfn: u64) -> None:
    """H_SET_PARTITION_TABLE: L1's partition table is its page ``gfn``."""
    WRITE_ONCE(kvm.arch.l1_ptcr, (gfn << PTCR_SHIFT) | PTCR_VALID)


@kernel
def nesting_enabled(kvm: Ptr[Kvm]) -> u64:
    """Whether the VM may have guests of its own now."""
    return READ_ONCE(kvm.arch.nested_enable) and READ_ONCE(kvm.arch.radix)


@kernel
def get_guest_with_table(kvm: Ptr[Kvm], l1_lpid: u64) -> Ptr[KvmNestedGuest]:
    """Guest ``l1_lpid`` of L1, with a reference; NULL: L1 has no table for it, or no memory."""
    gp = kvmhv_get_nested(kvm, l1_lpid, 1)
    if gp == NULL:
        return gp
    mutex_lock(gp.tlb_lock)
    if gp.l1_gr_to_hr == 0:
        kvmhv_update_ptbl_cache(kvm, gp)
    has_table = gp.l1_gr_to_hr != 0
    mutex_unlock(gp.tlb_lock)
    if not has_table:
        kvmhv_remove_nested(kvm, gp)
        kvmhv_put_nested(kvm, gp)
        return cast(Ptr[KvmNestedGuest], NULL)
    return gp


@kernel
def kvmhv_enter_nested_guest(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], l1_lpid: u64) -> u64:
    """H_ENTER_NESTED: ``vcpu`` (outside guest mode) runs guest ``l1_lpid`` of L1 from here
    on; 0, or 1: L1 has no such guest, the VM is not in radix mode, or there is no memory."""
    gp = cast(Ptr[KvmNestedGuest], NULL)
    mutex_lock(kvm.arch.mmu_setup_lock)
    if nesting_enabled(kvm):
        gp = get_guest_with_table(kvm, l1_lpid)
    mutex_unlock(kvm.arch.mmu_setup_lock)
    if gp == NULL:
        return 1
    vcpu.arch.nested = gp
    kvm_make_request(vcpu, REQ_TLB_FLUSH_ALL)
    return 0


@kernel
def kvmhv_exit_nested_guest(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> None:
    """``vcpu`` (outside guest mode) runs L1 again."""
    gp = vcpu.arch.nested
    vcpu.arch.nested = NULL
    kvm_make_request(vcpu, REQ_TLB_FLUSH_ALL)
    kvmhv_put_nested(kvm, gp)


@kernel
def kvmhv_drop_nested(kvm: Ptr[Kvm], l1_lpid: u64) -> None:
    """Take a guest's number, its shadow entries and its table away."""
    gp = kvmhv_get_nested(kvm, l1_lpid, 0)
    if gp == NULL:
        return
    mutex_lock(gp.tlb_lock)
    gp.l1_gr_to_hr = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvmhv_free_shadow(kvm, gp)
    kvm_mmu_unlock(kvm)
    mutex_unlock(gp.tlb_lock)
    kvmhv_remove_nested(kvm, gp)
    kvmhv_put_nested(kvm, gp)


@kernel
def kvmhv_release_all_nested(kvm: Ptr[Kvm]) -> None:
    """All guests of the guest go, and the whole reverse map; no vCPU is in guest mode.

    Sleeps; out of radix mode there is nothing to do.
    """
    if not nesting_enabled(kvm):
        return
    for l1_lpid in range(1, KVM_MAX_NESTED_GUESTS):
        kvmhv_drop_nested(kvm, l1_lpid)
    n = smp_load_acquire(kvm.n_slots)
    for i in range(n):
        slot = addr(kvm.slots[i])
        for at in range(slot.npages):
            if READ_ONCE(slot.rmap[at]):
                kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
                kvmhv_remove_nest_rmap_list(kvm, slot.rmap + at, 0, 0)
                kvm_mmu_unlock(kvm)
                rcu_core()
    if RCU_QHIMARK:
        rcu_do_batch()  # of a VM that changes its mode often, the trees would pile up
