"""An L2 guest as L0 knows it, and its life.

Rules
-----
* ``kvm_nested_guest_idr`` maps L1's number to it and holds a reference; so does every vCPU
  that runs it, and whoever is at work on it. References are counted under ``mmu_lock``;
  whoever drops the last frees it, without the lock.
* The fast path of aging refuses while ``nested_guests`` is not 0. A new guest is counted, then
  waits for a grace period, then is made known: a walker that saw 0 is gone before the first
  shadow entry exists, so none clears a bit behind its back.
* Whoever walks the reverse map without the lock is in an RCU read section, and finds a guest by
  its number: a guest, its tables and the map's nodes go after a grace period.
* A number that L1 has taken back is not looked up any more; who still runs the guest finds
  that it has no table (``l1_gr_to_hr`` 0).

Source: arch/powerpc/kvm/book3s_hv_nested.c (``kvmhv_get_nested``, ``kvmhv_put_nested``,
``kvmhv_remove_nested``, ``kvmhv_release_nested``). Known limits: the count and its grace
period are not in Linux, where the fast path was never merged; TLBs know no guest's number, so
a vCPU loses its TLB when it changes between L1 and L2, and a flush for one takes the other's
entries of the same page along.
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import KVM_MAX_NESTED_GUESTS, Kvm, KvmNestedGuest
from mkold.kvm.powerpc.radix.pte import entry_table, pte_present, ptrs_per_table
from mkold.kvm.powerpc.radix.tables import alloc_table, free_pud_tables, free_unlinked_table
from mkold.lang import (
    BUG_ON,
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    mutex_init,
    parameter,
    smp_store_release,
    synchronize_rcu,
    u64,
)
from mkold.mm.slab import kmem_cache_alloc, kmem_cache_free

# kvm.arch.nested_caches
GUESTS, NODES = 0, 1
# How nodes, shadow tables and guests are freed; at once is right where nobody walks without the
# lock.
FREE_BY_RCU = 0
FREE_AT_ONCE = 1
NESTED_FREE = parameter("NESTED_FREE", FREE_BY_RCU)
# 0: a new guest does not wait for walkers that saw none. A seeded fault.
WAIT_FOR_WALKERS = parameter("WAIT_FOR_WALKERS", 1)


@kernel
def kvmhv_find_nested(kvm: Ptr[Kvm], l1_lpid: u64) -> Ptr[KvmNestedGuest]:
    """Under ``mmu_lock``: the guest of that number, or NULL."""
    if l1_lpid == 0 or l1_lpid >= KVM_MAX_NESTED_GUESTS:
        return cast(Ptr[KvmNestedGuest], NULL)
    return cast(Ptr[KvmNestedGuest], READ_ONCE(kvm.arch.kvm_nested_guest_idr[l1_lpid]))


@kernel
def count_nested(kvm: Ptr[Kvm], by: u64) -> None:
    """One guest more, or one less (-1)."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    WRITE_ONCE(kvm.arch.nested_guests, kvm.arch.nested_guests + by)
    kvm_mmu_unlock(kvm)


@kernel
def kvmhv_release_nested(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest]) -> None:
    """Free a guest that nobody has a reference to; none of its vCPUs runs. Sleeps."""
    if NESTED_FREE == FREE_BY_RCU:
        synchronize_rcu()  # walkers of the reverse map that found it are gone
    pgd = gp.shadow_pgtable
    for i in range(ptrs_per_table(3)):
        entry = READ_ONCE(pgd[i])
        if pte_present(entry):
            free_pud_tables(entry_table(entry))
    free_unlinked_table(pgd, 3)
    kmem_cache_free(addr(kvm.arch.nested_caches[GUESTS]), cast(u64, gp))
    count_nested(kvm, ~0)


@kernel
def kvmhv_alloc_nested(kvm: Ptr[Kvm], l1_lpid: u64) -> Ptr[KvmNestedGuest]:
    """A guest that nobody knows yet, counted, with an empty tree and two references: the
    table's and the caller's. NULL if there is no memory."""
    cache = addr(kvm.arch.nested_caches[GUESTS])
    gp = cast(Ptr[KvmNestedGuest], kmem_cache_alloc(cache))
    if gp == NULL:
        return gp
    pgd = alloc_table(kvm, 3)
    if pgd == NULL:
        kmem_cache_free(cache, cast(u64, gp))
        return cast(Ptr[KvmNestedGuest], NULL)
    gp.l1_lpid = l1_lpid
    gp.shadow_pgtable = pgd
    gp.l1_gr_to_hr = 0
    gp.refcnt = 2
    mutex_init(gp.tlb_lock)
    count_nested(kvm, 1)
    if WAIT_FOR_WALKERS:
        synchronize_rcu()
    return gp


@kernel
def kvmhv_try_get_nested(kvm: Ptr[Kvm], l1_lpid: u64) -> Ptr[KvmNestedGuest]:
    """The guest of that number with a reference more, or NULL."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    gp = kvmhv_find_nested(kvm, l1_lpid)
    if gp != NULL:
        gp.refcnt += 1
    kvm_mmu_unlock(kvm)
    return gp


@kernel
def kvmhv_get_nested(kvm: Ptr[Kvm], l1_lpid: u64, create: u64) -> Ptr[KvmNestedGuest]:
    """The guest of that number, made if need be and ``create`` says so; the caller gets a
    reference. NULL: there is none, or no memory.

    Ordering
    --------
    Takes ``mmu_lock``; sleeps if it makes one.
    """
    gp = kvmhv_try_get_nested(kvm, l1_lpid)
    if gp != NULL or not create or l1_lpid == 0 or l1_lpid >= KVM_MAX_NESTED_GUESTS:
        return gp
    fresh = kvmhv_alloc_nested(kvm, l1_lpid)
    if fresh == NULL:
        return fresh
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    gp = kvmhv_find_nested(kvm, l1_lpid)
    if gp == NULL:
        smp_store_release(kvm.arch.kvm_nested_guest_idr[l1_lpid], cast(u64, fresh))
    else:
        gp.refcnt += 1
    kvm_mmu_unlock(kvm)
    if gp == NULL:
        return fresh
    kvmhv_release_nested(kvm, fresh)
    return gp


@kernel
def kvmhv_put_nested(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest]) -> None:
    """Give a reference back; the last one frees the guest."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    BUG_ON(gp.refcnt == 0)
    gp.refcnt -= 1
    left = gp.refcnt
    kvm_mmu_unlock(kvm)
    if left == 0:
        kvmhv_release_nested(kvm, gp)


@kernel
def kvmhv_remove_nested(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest]) -> None:
    """Take the number back, and the table's reference, if it still has it."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    known = kvmhv_find_nested(kvm, gp.l1_lpid) == gp
    if known:
        WRITE_ONCE(kvm.arch.kvm_nested_guest_idr[gp.l1_lpid], 0)
    kvm_mmu_unlock(kvm)
    if known:
        kvmhv_put_nested(kvm, gp)
