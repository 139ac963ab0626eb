"""The dirty log in hash mode: harvest C page by page, round each page's ring.

Rules
-----
* The hardware may write C back as late as the tlbie. So an HPTE with C = 0 may be dirty, and
  is looked at all the same, unless the guest can't write through it, or vCPUs run: then there
  is a later harvest that will find it.
* An HPTE goes ABSENT for the tlbie and comes back with C clear, its R kept.
* ``mmu_lock`` is held, so that no mode switch takes the table away.

Source: arch/powerpc/kvm/book3s_64_mmu_hv.c (``kvm_test_clear_dirty_npages``,
``kvmppc_hv_get_dirty_log_hpt``).
Known limits: the kernel relies on ``srcu`` and ``mmu_setup_lock`` for the table's life.
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.hash.hpt import hpt_entry
from mkold.kvm.powerpc.hash.hpte import (
    HPTE_GR_MODIFIED,
    HPTE_R_C,
    HPTE_V_ABSENT,
    HPTE_V_HVLOCK,
    HPTE_V_VALID,
    hpte_is_writable,
)
from mkold.kvm.powerpc.hash.hvlock import __unlock_hpte, try_lock_hpte, unlock_hpte, wait_hpte
from mkold.kvm.powerpc.hash.rmap import (
    KVMPPC_RMAP_CHANGED,
    KVMPPC_RMAP_INDEX,
    KVMPPC_RMAP_PRESENT,
    gfn_to_rmap,
    lock_rmap,
    unlock_rmap,
)
from mkold.kvm.powerpc.hash.tlbie import kvmppc_invalidate_hpte
from mkold.kvm.tlb import kvm_vcpu_of
from mkold.kvm.types import IN_GUEST_MODE
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    kernel,
    parameter,
    smp_load_acquire,
    smp_wmb,
    u64,
)

# 1: C = 0 is believed, as before Linux commit 6c576e74fd91.
HPT_TRUST_C = parameter("HPT_TRUST_C", 0)


@kernel
def vcpus_running(kvm: Ptr[Kvm]) -> u64:
    """Whether any vCPU is in guest mode."""
    n = smp_load_acquire(kvm.n_vcpus)
    for i in range(n):
        if smp_load_acquire(kvm_vcpu_of(kvm, i).mode) == IN_GUEST_MODE:
            return 1
    return 0


@kernel
def looks_clean(kvm: Ptr[Kvm], r: u64) -> u64:
    """Whether an HPTE with R ``r`` need not be looked at."""
    if r & HPTE_R_C:
        return 0
    return HPT_TRUST_C or not hpte_is_writable(r) or vcpus_running(kvm)


@kernel
def harvest_locked_hpte(kvm: Ptr[Kvm], index: u64) -> u64:
    """Both locks held: take C of HPTE ``index`` and unlock it; 1 if it was set."""
    hpte = hpt_entry(kvm, index)
    rev = kvm.arch.hpt.rev + index
    v = READ_ONCE(hpte[0])
    if not v & HPTE_V_VALID:
        __unlock_hpte(hpte, v)
        return 0
    r = kvmppc_invalidate_hpte(kvm, hpte, index, HPTE_V_ABSENT)
    if r & HPTE_R_C:
        WRITE_ONCE(hpte[1], r & ~HPTE_R_C)
        if not rev.guest_rpte & HPTE_R_C:
            rev.guest_rpte = rev.guest_rpte | HPTE_R_C | HPTE_GR_MODIFIED
        smp_wmb()  # eieio: R before V, for the hardware
    unlock_hpte(hpte, v)
    return (r & HPTE_R_C) != 0


@kernel
def harvest_ring(kvm: Ptr[Kvm], first: u64) -> tuple[u64, u64]:
    """The rmap's lock held: as ``age_ring``, for C."""
    dirty: u64 = 0
    at = first
    while True:
        hpte = hpt_entry(kvm, at)
        after: u64 = kvm.arch.hpt.rev[at].forw
        if not looks_clean(kvm, READ_ONCE(hpte[1])):
            if not try_lock_hpte(hpte, HPTE_V_HVLOCK):
                return dirty, at
            dirty |= harvest_locked_hpte(kvm, at)
        if after == first:
            return dirty, ~0
        at = after


@kernel
def kvm_test_clear_dirty_rmapp(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """Clear C of ``gfn``, under ``mmu_lock``; 1 if it was set."""
    rmap = gfn_to_rmap(kvm, gfn)
    dirty: u64 = 0
    while True:
        lock_rmap(rmap)
        word = READ_ONCE(rmap.value)
        if word & KVMPPC_RMAP_CHANGED:  # logged when it came here
            WRITE_ONCE(rmap.value, word & ~KVMPPC_RMAP_CHANGED)
        if not word & KVMPPC_RMAP_PRESENT:
            unlock_rmap(rmap)
            return dirty
        found, busy = harvest_ring(kvm, word & KVMPPC_RMAP_INDEX)
        dirty |= found
        unlock_rmap(rmap)
        if busy == ~0:
            return dirty
        wait_hpte(hpt_entry(kvm, busy))


@kernel
def kvm_hpt_test_clear_dirty(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """``kvm_test_clear_dirty_rmapp`` where the VM still is in hash mode."""
    dirty: u64 = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    if not READ_ONCE(kvm.arch.radix):
        dirty = kvm_test_clear_dirty_rmapp(kvm, gfn)
    kvm_mmu_unlock(kvm)
    return dirty
