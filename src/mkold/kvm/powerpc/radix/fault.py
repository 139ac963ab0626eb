"""Guest page faults on the partition-scoped tree.

Rules
-----
* The frame is looked up without ``mmu_lock``, the mapping is put in under it, and the
  retry counter (``mkold.kvm.retry``) tells whether the frame is still right.
* A new leaf is readable, executable and has R set. It has W only if the host allows
  writing, and then C too, for a read as for a write: the host was asked for a page to write.
* A slot whose host memory is contiguous in larger pages (``max_level``) is mapped by
  leaves of that level where guest and host addresses are aligned alike and the whole leaf
  lies in the slot.
* With huge pages of the host (``TRANSPARENT_HUGEPAGE``) the leaf is as large as the process's
  entry of the page, which is looked up under ``mmu_lock``, where both addresses are aligned
  alike; whether all of it lies in the slot is asked with ``LEAF_IN_SLOT`` alone: Linux does
  not (6.12, 7.2).
* On return to the guest the access is tried again; nothing is emulated.
* A leaf that replaces tables queues their freeing (``call_rcu``) on this CPU; when much is
  queued the fault, which holds no lock yet, runs it first.

Source: arch/powerpc/kvm/book3s_64_mmu_radix.c (``kvmppc_book3s_radix_page_fault``,
``kvmppc_book3s_instantiate_page``, ``kvmppc_hv_handle_set_rc``).
"""

from __future__ import annotations

from mkold.kvm.host_level import host_pfn_mapping_level
from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.radix.create import CREATED, ENOMEM, kvmppc_create_pte
from mkold.kvm.powerpc.radix.hw import HW_SETS_RC
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    _PAGE_DIRTY,
    _PAGE_EXEC,
    _PAGE_READ,
    _PAGE_WRITE,
    level_pages,
    pfn_pte,
    pte_leaf,
)
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.radix.walk import find_kvm_secondary_pte
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST, MemorySlot
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    cpu_relax,
    kernel,
    parameter,
    smp_rmb,
    u64,
)
from mkold.mm.fault.memory import hva_to_pfn
from mkold.mm.mm_types import PFN_ERR, PFN_ERR_RETRY, TRANSPARENT_HUGEPAGE
from mkold.sync.rcu import rcu_core

LEAF_IN_SLOT = parameter("LEAF_IN_SLOT", 0)


@kernel
def leaf_bits(write: u64, writable: u64) -> u64:
    """Permission and status bits of a new leaf."""
    bits = _PAGE_READ | _PAGE_EXEC | _PAGE_ACCESSED
    if writable:
        bits |= _PAGE_WRITE
        if write:
            bits |= _PAGE_DIRTY
    return bits


@kernel
def aligned_alike(slot: Ptr[MemorySlot], level: u64) -> bool:
    """Whether guest and host addresses can be mapped by leaves of ``level``."""
    return ((slot.base_gfn ^ slot.userspace_addr) & (level_pages(level) - 1)) == 0


@kernel
def leaf_in_slot(slot: Ptr[MemorySlot], gfn: u64, level: u64) -> bool:
    """Whether all pages of the leaf of ``level`` that maps ``gfn`` are the slot's."""
    mask = level_pages(level) - 1
    first = gfn & ~mask
    return first >= slot.base_gfn and first + mask < slot.base_gfn + slot.npages


@kernel
def fault_level(slot: Ptr[MemorySlot], gfn: u64) -> u64:
    """The largest level at which ``gfn`` can be mapped by one leaf; with a log, a page."""
    level = READ_ONCE(slot.max_level)
    if level > 0 and READ_ONCE(slot.dirty_bitmap) != NULL:
        return 0
    while level > 0:
        if aligned_alike(slot, level) and leaf_in_slot(slot, gfn, level):
            break
        level -= 1
    return level


@kernel
def find_kvm_host_level(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64) -> u64:
    """The level of the process's entry that maps ``gfn``, if guest and host addresses are
    aligned alike; with a log, or elsewhere, a page's."""
    if READ_ONCE(slot.dirty_bitmap) != NULL:
        return 0
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    level = host_pfn_mapping_level(kvm.mm, gfn_to_hva(slot, gfn))
    kvm_mmu_unlock(kvm)
    if not aligned_alike(slot, level) or (LEAF_IN_SLOT and not leaf_in_slot(slot, gfn, level)):
        return 0
    return level


@kernel
def kvmppc_hv_handle_set_rc(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Set R (and C) on an entry that is there already; 1 if that is all it needed.

    For machines that fault (``DSISR_SET_RC``) instead of setting the bits themselves.
    """
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    done = 0
    ptep, _shift = find_kvm_secondary_pte(kvm, gfn)
    if ptep != NULL:
        pte = READ_ONCE(ptep.value)
        if pte_leaf(pte) and (not write or (pte & _PAGE_WRITE)):
            kvmppc_radix_update_pte(ptep, 0, _PAGE_ACCESSED | (_PAGE_DIRTY if write else 0))
            done = 1
    kvm_mmu_unlock(kvm)
    return done


@kernel
def kvmppc_book3s_instantiate_page(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, write: u64
) -> u64:
    """Look up the frame of ``gfn`` and map it; RESUME_GUEST also where a retry is due."""
    level = fault_level(slot, gfn)
    mmu_seq = READ_ONCE(kvm.mmu_invalidate_seq)
    smp_rmb()  # pairs with the lock in kvm_mmu_invalidate_end: seq first, then the frame
    hva = gfn_to_hva(slot, gfn)
    pfn, writable = hva_to_pfn(kvm.mm, hva, write)
    if pfn >= PFN_ERR:
        if pfn == PFN_ERR_RETRY:
            cpu_relax()
            return RESUME_GUEST
        return RESUME_HOST
    if TRANSPARENT_HUGEPAGE:
        level = find_kvm_host_level(kvm, vcpu, slot, gfn)
    offset = gfn & (level_pages(level) - 1)
    pte = pfn_pte(pfn - offset, leaf_bits(writable, writable))
    result = kvmppc_create_pte(kvm, gfn, pte, level, mmu_seq, hva, addr(vcpu.stat.lock_waits))
    if result == ENOMEM:
        return RESUME_HOST
    if result != CREATED:
        vcpu.stat.retries += 1
        cpu_relax()
    return RESUME_GUEST


@kernel
def kvmppc_book3s_radix_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Handle a fault of ``vcpu``, which is outside guest mode.

    Returns
    -------
    RESUME_GUEST: try the access again; RESUME_HOST: the guest has no memory there, or
    the host has no frame for it
    """
    rcu_core()
    vcpu.stat.faults += 1
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return RESUME_HOST
    if not HW_SETS_RC and kvmppc_hv_handle_set_rc(kvm, vcpu, gfn, write):
        return RESUME_GUEST
    return kvmppc_book3s_instantiate_page(kvm, vcpu, slot, gfn, write)
