"""What HV does for a VM, by the mode that its MMU is in.

Rules
-----
* Whoever holds ``mmu_lock`` looks at the mode flag first, for each page: out of radix mode the
  tree may still be there, being freed without the lock; out of hash mode the rmap words have
  no rings, though the table may still be there.
* A secure guest's memory is out of the hypervisor's sight: nothing of it is young.

Source: arch/powerpc/kvm/book3s_64_mmu_hv.c, book3s_hv.c.
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.cputable import radix_enabled
from mkold.kvm.powerpc.hash.age import kvm_age_rmapp, kvm_test_age_rmapp
from mkold.kvm.powerpc.hash.dirty import kvm_hpt_test_clear_dirty
from mkold.kvm.powerpc.hash.hpt import kvmppc_free_hpt
from mkold.kvm.powerpc.hash.unmap import kvm_unmap_rmapp
from mkold.kvm.powerpc.nested.enter import kvmhv_release_all_nested
from mkold.kvm.powerpc.radix.age import kvm_age_radix, kvm_is_secure, kvm_test_age_radix
from mkold.kvm.powerpc.radix.dirty import kvm_radix_test_clear_dirty
from mkold.kvm.powerpc.radix.tables import kvmppc_free_radix, kvmppc_radix_init
from mkold.kvm.powerpc.radix.unmap import (
    kvm_unmap_radix,
    kvmppc_radix_flush_memslot,
    kvmppc_update_dirty_map,
)
from mkold.kvm.powerpc.switch import kvmppc_switch_mmu_to_radix
from mkold.kvm.types import MemorySlot
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    kernel,
    smp_store_release,
    u64,
    xchg,
)


@kernel
def kvmppc_core_init_vm_hv(kvm: Ptr[Kvm]) -> u64:
    """A new VM is in the host's own mode: in radix mode with an empty tree, in hash mode with
    no table yet. 0, or 1 if there is no memory."""
    kvmppc_radix_init(kvm)
    if not radix_enabled():
        return 0
    if kvmppc_switch_mmu_to_radix(kvm):
        return 1
    smp_store_release(kvm.arch.mmu_ready, 1)
    return 0


@kernel
def kvmppc_core_destroy_vm_hv(kvm: Ptr[Kvm]) -> None:
    """Free the tables, those of its guests first; see ``kvm_arch_destroy_vm``."""
    kvmhv_release_all_nested(kvm)
    kvmppc_free_radix(kvm)
    kvmppc_free_hpt(kvm)


@kernel
def kvm_unmap_gfn_range_hv(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Unmap ``[gfn, end)``, each entry with its flush; ``mmu_lock`` is held."""
    if READ_ONCE(kvm.arch.radix):
        kvm_unmap_radix(kvm, gfn, end)
    else:
        for at in range(gfn, end):
            kvm_unmap_rmapp(kvm, at)
    return 0


@kernel
def kvm_set_spte_gfn_hv(kvm: Ptr[Kvm], gfn: u64, pfn: u64) -> u64:
    """The page is unmapped, and mapped anew by the next fault; ``pfn`` is not needed."""
    return kvm_unmap_gfn_range_hv(kvm, gfn, gfn + 1)


@kernel
def kvm_age_gfn_hv(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Slow path, under ``mmu_lock``: clear ``[gfn, end)`` page by page; 1 if any was young."""
    young = 0
    for at in range(gfn, end):
        if not READ_ONCE(kvm.arch.radix):
            young |= kvm_age_rmapp(kvm, at)
        elif not kvm_is_secure(kvm):
            young |= kvm_age_radix(kvm, at)
    return young


@kernel
def kvm_test_age_gfn_hv(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """As ``kvm_age_gfn_hv``, without clearing; stops at the first young page."""
    young = 0
    for at in range(gfn, end):
        if not READ_ONCE(kvm.arch.radix):
            young = kvm_test_age_rmapp(kvm, at)
        elif not kvm_is_secure(kvm):
            young = kvm_test_age_radix(kvm, at)
        if young:
            break
    return young


@kernel
def kvm_vm_ioctl_get_dirty_log_hv(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64]) -> u64:
    """Move the slot's dirty pages to ``log`` (one bit a page) and start afresh, in whatever
    mode the VM is, page by page; as ``kvmppc_hv_get_dirty_log_radix``."""
    bitmap = READ_ONCE(slot.dirty_bitmap)
    if bitmap == NULL or kvm_is_secure(kvm):
        return 1
    gfn = slot.base_gfn
    end = gfn + slot.npages
    while gfn < end:
        npages: u64 = 1
        if READ_ONCE(kvm.arch.radix):
            npages = max(kvm_radix_test_clear_dirty(kvm, gfn), 1)
        elif kvm_hpt_test_clear_dirty(kvm, gfn):
            kvmppc_update_dirty_map(kvm, gfn, 1)
        gfn = (gfn & ~(npages - 1)) + npages
    for i in range((slot.npages + 63) >> 6):
        log[i] = xchg(bitmap[i], 0)
    return 0


@kernel
def kvmppc_core_commit_memory_region_hv(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64]
) -> u64:
    """The slot's log begins or ends: in radix mode nothing of it is mapped any more, so that
    its pages come back one by one, or as large as they may be."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    if READ_ONCE(kvm.arch.radix) and not kvm_is_secure(kvm):
        kvmppc_radix_flush_memslot(kvm, slot)
    WRITE_ONCE(slot.dirty_bitmap, bitmap)
    kvm_mmu_unlock(kvm)
    return 0
