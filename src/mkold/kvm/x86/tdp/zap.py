"""Taking mappings away: the leaves of a range, and all of an invalid root.

Rules
-----
* The host's pages: ``mmu_lock`` held for writing, leaves alone, of valid and of invalid roots;
  who calls flushes, and for invalid roots (since 6.13) nobody has to: a vCPU flushes when it
  loads another.
* An invalid root is zapped under ``mmu_lock`` held for reading, in passes by level, so that no
  entry takes down more than one table with it; then the VM's reference is put.
* Up to 6.12 an entry zapped under the lock held for reading is frozen, flushed, and then
  cleared, so that no fault maps there before the flush.

Source: arch/x86/kvm/mmu/tdp_mmu.c (``tdp_mmu_zap_leafs``, ``tdp_mmu_zap_root``,
``kvm_tdp_mmu_zap_invalidated_roots``), mmu.c (``kvm_mmu_zap_all_fast``); commits d62007edf01f
(all roots), 35ef80eb29ab (one flush for many).
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import (
    kvm_mmu_lock,
    kvm_mmu_read_lock,
    kvm_mmu_read_unlock,
    kvm_mmu_unlock,
)
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, sp_spt
from mkold.kvm.x86.mmu.flush import kvm_flush_remote_tlbs_gfn
from mkold.kvm.x86.mmu.spte import (
    FROZEN_SPTE,
    LINUX_VERSION,
    PG_LEVEL_4K,
    ROOT_LEVEL,
    SHADOW_NONPRESENT_VALUE,
    is_shadow_present_pte,
)
from mkold.kvm.x86.tdp.change import (
    __tdp_mmu_set_spte_atomic,
    handle_changed_spte,
    tdp_mmu_set_spte,
    tdp_mmu_set_spte_atomic,
)
from mkold.kvm.x86.tdp.iter import (
    EXCLUSIVE,
    SAME_PAGE_AFTER_YIELD,
    SHARED,
    gfn_behind,
    is_leaf,
    tdp_mmu_iter_cond_resched,
    tdp_mmu_max_gfn,
    tdp_walk,
)
from mkold.kvm.x86.tdp.roots import (
    kvm_tdp_mmu_invalidate_roots,
    kvm_tdp_mmu_put_root,
    tdp_mmu_next_root,
)
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    parameter,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)
from mkold.sync.rcu import rcu_core

# 1 unmaps from valid roots alone: a fault of its time (d62007edf01f).
UNMAP_VALID_ROOTS_ONLY = parameter("UNMAP_VALID_ROOTS_ONLY", 0)


@kernel
def tdp_mmu_zap_leafs(
    kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], start: u64, end: u64, flush: u64, waits: Ptr[u64]
) -> u64:
    """Zap the leaves of one root that map a page of ``[start, end)``; whether to flush."""
    gfn = start
    n: u64 = 0
    rcu_read_lock()
    while gfn < end:
        sptep, spte, level = tdp_walk(sp_spt(root), gfn, PG_LEVEL_4K)
        if tdp_mmu_iter_cond_resched(kvm, n, flush, EXCLUSIVE, waits):
            n = 0
            flush = 0
            if SAME_PAGE_AFTER_YIELD:
                continue
        elif is_leaf(spte, level):
            tdp_mmu_set_spte(kvm, sptep, spte, SHADOW_NONPRESENT_VALUE, level)
            if LINUX_VERSION < 613 or not READ_ONCE(root.invalid):
                flush = 1
        n += 1
        gfn = gfn_behind(gfn, level)
    rcu_read_unlock()
    return flush


@kernel
def kvm_tdp_mmu_unmap_gfn_range(kvm: Ptr[Kvm], start: u64, end: u64) -> u64:
    """No root maps a page of ``[start, end)`` any more; whether to flush. ``mmu_lock`` is held
    for writing."""
    flush: u64 = 0
    waits = addr(kvm.stat.lock_waits)
    root = tdp_mmu_next_root(kvm, cast(Ptr[KvmMmuPage], NULL), UNMAP_VALID_ROOTS_ONLY)
    while root != NULL:
        flush = tdp_mmu_zap_leafs(kvm, root, start, end, flush, waits)
        root = tdp_mmu_next_root(kvm, root, UNMAP_VALID_ROOTS_ONLY)
    return flush


@kernel
def tdp_mmu_zap_spte_atomic(
    kvm: Ptr[Kvm], sptep: Ptr[u64], old: u64, gfn: u64, level: u64
) -> bool:
    """Under ``mmu_lock`` held for reading: zap an entry if it is still ``old``."""
    if LINUX_VERSION >= 613:
        return tdp_mmu_set_spte_atomic(kvm, sptep, old, SHADOW_NONPRESENT_VALUE, level)
    ok, _seen = __tdp_mmu_set_spte_atomic(sptep, old, FROZEN_SPTE)
    if not ok:
        return False
    kvm_flush_remote_tlbs_gfn(kvm, gfn, level)
    WRITE_ONCE(sptep.value, SHADOW_NONPRESENT_VALUE)
    handle_changed_spte(kvm, old, SHADOW_NONPRESENT_VALUE, level, SHARED)
    return True


@kernel
def zap_until_gone(kvm: Ptr[Kvm], sptep: Ptr[u64], spte: u64, gfn: u64, level: u64) -> None:
    """Under ``mmu_lock`` held for reading: zap an entry seen as ``spte``."""
    while is_shadow_present_pte(spte):
        if tdp_mmu_zap_spte_atomic(kvm, sptep, spte, gfn, level):
            return
        spte = READ_ONCE(sptep.value)


@kernel
def __tdp_mmu_zap_root(
    kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], shared: u64, zap_level: u64, waits: Ptr[u64]
) -> None:
    """One pass over an invalid root: nothing is present at ``zap_level`` any more."""
    gfn: u64 = 0
    n: u64 = 0
    end = tdp_mmu_max_gfn()
    while gfn < end:
        if tdp_mmu_iter_cond_resched(kvm, n, 0, shared, waits):
            n = 0
        n += 1
        sptep, spte, level = tdp_walk(sp_spt(root), gfn, zap_level)
        if level == zap_level and shared:
            zap_until_gone(kvm, sptep, spte, gfn, level)
        elif level == zap_level and is_shadow_present_pte(spte):
            tdp_mmu_set_spte(kvm, sptep, spte, SHADOW_NONPRESENT_VALUE, level)
        gfn = gfn_behind(gfn, level)


@kernel
def tdp_mmu_zap_root(
    kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], shared: u64, waits: Ptr[u64]
) -> None:
    """Nothing is present in an invalid root any more."""
    rcu_read_lock()
    for level in range(PG_LEVEL_4K, ROOT_LEVEL + 1):
        __tdp_mmu_zap_root(kvm, root, shared, level, waits)
    rcu_read_unlock()


@kernel
def kvm_tdp_mmu_zap_invalidated_roots(kvm: Ptr[Kvm], shared: u64, waits: Ptr[u64]) -> None:
    """Zap the invalid roots that nobody zaps yet and put the VM's references; ``mmu_lock`` is
    held."""
    root = tdp_mmu_next_root(kvm, cast(Ptr[KvmMmuPage], NULL), 0)
    while root != NULL:
        if READ_ONCE(root.tdp_mmu_scheduled_root_to_zap):
            WRITE_ONCE(root.tdp_mmu_scheduled_root_to_zap, 0)
            tdp_mmu_zap_root(kvm, root, shared, waits)
            kvm_tdp_mmu_put_root(kvm, root)
        root = tdp_mmu_next_root(kvm, root, 0)


@kernel
def kvm_mmu_zap_all_fast(kvm: Ptr[Kvm], waits: Ptr[u64]) -> None:
    """Start over with empty tables while vCPUs run, as for a memslot that goes. One caller at a
    time, no vCPU in guest mode; ``waits`` is its own."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    kvm_tdp_mmu_invalidate_roots(kvm)
    kvm_mmu_unlock(kvm)
    kvm_mmu_read_lock(kvm, waits)
    kvm_tdp_mmu_zap_invalidated_roots(kvm, SHARED, waits)
    kvm_mmu_read_unlock(kvm)
    rcu_core()
