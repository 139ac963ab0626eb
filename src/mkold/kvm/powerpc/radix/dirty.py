"""Dirty logging: harvest C page by page.

The lookup is without the lock; only a page that looks dirty is looked up again under
``mmu_lock``, cleared and flushed, so that the next write sets C anew; so are the shadow entries
of guests of the guest.

Source: arch/powerpc/kvm/book3s_64_mmu_radix.c (``kvm_radix_test_clear_dirty``,
``kvmppc_hv_get_dirty_log_radix``).
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_book3s_64 import kvmhv_update_nest_rmap_rc_list
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.radix.age import kvm_is_secure
from mkold.kvm.powerpc.radix.pte import _PAGE_DIRTY, pte_leaf
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.radix.unmap import kvmppc_update_dirty_map
from mkold.kvm.powerpc.radix.walk import find_kvm_secondary_pte, find_kvm_secondary_pte_unlocked
from mkold.kvm.tlb import kvm_flush_remote_tlbs_range
from mkold.kvm.types import MemorySlot
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    kernel,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
    xchg,
)


@kernel
def leaf_is_dirty(ptep: Ptr[u64]) -> u64:
    """Whether ``ptep`` (or NULL) is a leaf with C set."""
    if ptep == NULL:
        return 0
    pte = READ_ONCE(ptep.value)
    return pte_leaf(pte) and (pte & _PAGE_DIRTY)


@kernel
def kvm_radix_test_clear_dirty(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """Clear C of the leaf that maps ``gfn``; the pages it covers if C was set, else 0."""
    rcu_read_lock()
    ptep, shift = find_kvm_secondary_pte_unlocked(kvm, gfn)
    dirty = leaf_is_dirty(ptep)
    rcu_read_unlock()
    if not dirty:
        return 0
    npages = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    ptep, shift = find_kvm_secondary_pte(kvm, gfn)
    if leaf_is_dirty(ptep):
        npages = 1 << shift
        first = gfn & ~(npages - 1)
        old = kvmppc_radix_update_pte(ptep, _PAGE_DIRTY, 0)
        kvmhv_update_nest_rmap_rc_list(kvm, gfn, _PAGE_DIRTY, old, npages)
        kvm_flush_remote_tlbs_range(kvm, first, npages)
        kvmppc_update_dirty_map(kvm, first, npages)
    kvm_mmu_unlock(kvm)
    return npages


@kernel
def kvmppc_hv_get_dirty_log_radix(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64]) -> u64:
    """Move the slot's dirty pages to ``log`` (one bit a page) and start afresh.

    Returns
    -------
    0, or 1 if the guest is secure and has no log to give, or the slot is not logged
    """
    bitmap = READ_ONCE(slot.dirty_bitmap)
    if bitmap == NULL or kvm_is_secure(kvm):
        return 1
    gfn = slot.base_gfn
    end = gfn + slot.npages
    while gfn < end:
        npages = kvm_radix_test_clear_dirty(kvm, gfn)
        gfn = (gfn & ~(max(npages, 1) - 1)) + max(npages, 1)
    for i in range((slot.npages + 63) >> 6):
        log[i] = xchg(bitmap[i], 0)
    return 0
