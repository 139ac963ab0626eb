"""Guest aborts: what a fault of the guest leads to.

Rules (``user_mem_abort``)
--------------------------
* Tables that the walk may need are taken first, with nothing held.
* The retry counter is read, then the size of the host's mapping and the frame are found,
  without a lock; ``mmu_lock`` is taken for reading, and the counter says whether it all still
  holds.
* A permission fault on a leaf of the right size only relaxes permissions; anything else maps.
  EAGAIN of either sends the guest back: it faults again, if it still has to.
* With huge pages of the host (``TRANSPARENT_HUGEPAGE``) a block is mapped if the process maps
  it by a huge entry, which is looked up under ``mmu_lock`` (``transparent_hugepage_adjust``);
  a permission fault on a block keeps its size.
* With a dirty log pages are mapped by themselves, writable only for a write.
* An access flag fault sets the bit under ``mmu_lock`` for reading, and looks at nothing else;
  the result does not matter. Up to Linux 6.12 (``ACCESS_FAULT_MARKS`` 1) it marks the page as
  used, as a fault that maps does too.

Source: arch/arm64/kvm/mmu.c (``kvm_handle_guest_abort``, ``user_mem_abort``,
``handle_access_fault``; 7.2: ``kvm_s2_fault_map``).
Known limits: without huge pages of the host sizes come from the memslot alone (``max_level``);
no devices, no tags, no nested guests.
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import (
    ESR_ELx_FSC_ACCESS,
    ESR_ELx_FSC_PERM,
    Kvm,
    KvmMmuMemoryCache,
    Vcpu,
)
from mkold.kvm.arm64.pgtable.attr import (
    kvm_pgtable_stage2_mkyoung,
    kvm_pgtable_stage2_relax_perms,
)
from mkold.kvm.arm64.pgtable.geometry import (
    KVM_PGTABLE_LAST_LEVEL,
    KVM_PGTABLE_MIN_BLOCK_LEVEL,
    kvm_granule_pages,
    stage2_pgtable_levels,
)
from mkold.kvm.arm64.pgtable.map import kvm_pgtable_stage2_map
from mkold.kvm.arm64.pgtable.pte import (
    S2AP_W,
    kvm_pte_to_pfn,
    kvm_pte_valid,
    stage2_set_prot_attr,
)
from mkold.kvm.arm64.pgtable.tables import kvm_mmu_topup_memory_cache
from mkold.kvm.arm64.pgtable.walk import (
    EAGAIN,
    KVM_PGTABLE_WALK_HANDLE_FAULT,
    KVM_PGTABLE_WALK_SHARED,
)
from mkold.kvm.host_level import host_pfn_mapping_level
from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.kvm.release import kvm_release_faultin_page, kvm_set_pfn_accessed
from mkold.kvm.retry import mmu_invalidate_retry
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST, MemorySlot
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    Struct,
    addr,
    atomic_or,
    cpu_relax,
    kernel,
    parameter,
    smp_rmb,
    u64,
)
from mkold.mm.fault.memory import hva_to_pfn
from mkold.mm.mm_types import PFN_ERR, PFN_ERR_RETRY, TRANSPARENT_HUGEPAGE
from mkold.sync.rcu import rcu_core

# 0 leaves out the check of the retry counter: a seeded fault.
CHECK_RETRY = parameter("CHECK_RETRY", 1)
# 1, as before commit 13ec9308a857: the counter is read when the size is known.
SEQ_AFTER_SIZE = parameter("SEQ_AFTER_SIZE", 0)
# 1, as before commit 157dbc4a321f: a permission fault has no store of tables.
MEMCACHE_UNSET = parameter("MEMCACHE_UNSET", 0)
# Whether an access flag fault marks the page as used: up to Linux 6.12.
ACCESS_FAULT_MARKS = parameter("ACCESS_FAULT_MARKS", 0)


@kernel
def fault_level(slot: Ptr[MemorySlot], gfn: u64) -> u64:
    """The level of the largest leaf that may map ``gfn``."""
    level: u64 = KVM_PGTABLE_LAST_LEVEL - READ_ONCE(slot.max_level)
    if READ_ONCE(slot.dirty_bitmap) != NULL:
        level = KVM_PGTABLE_LAST_LEVEL
    level = max(level, KVM_PGTABLE_MIN_BLOCK_LEVEL)
    while level < KVM_PGTABLE_LAST_LEVEL:
        mask = kvm_granule_pages(level) - 1
        first = gfn & ~mask
        same = ((slot.base_gfn ^ slot.userspace_addr) & mask) == 0
        inside = first >= slot.base_gfn and first + mask < slot.base_gfn + slot.npages
        if same and inside:
            break
        level += 1
    return level


@kernel
def transparent_hugepage_adjust(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, level: u64
) -> u64:
    """Under ``mmu_lock``: ``level``, or that of a page where the process maps ``gfn`` by no
    huge entry."""
    if level == KVM_PGTABLE_LAST_LEVEL:
        return level
    if vcpu.arch.fsc == ESR_ELx_FSC_PERM and vcpu.arch.fault_level < KVM_PGTABLE_LAST_LEVEL:
        return vcpu.arch.fault_level
    host = host_pfn_mapping_level(kvm.mm, gfn_to_hva(slot, gfn))
    return max(level, KVM_PGTABLE_LAST_LEVEL - host)


class Store(Struct):
    """Where a fault's tables come from."""

    mc: Ptr[KvmMmuMemoryCache]


@kernel
def unset_memcache(vcpu: Ptr[Vcpu], fresh: u64) -> Ptr[KvmMmuMemoryCache]:
    """The vCPU's store, as a local that only a translation fault sets."""
    store: Store
    if fresh:
        store.mc = addr(vcpu.arch.mmu_page_cache)  # noqa: F821  # a local struct has no value
    return store.mc  # noqa: F821  # as above


@kernel
def mark_page_dirty_in_slot(slot: Ptr[MemorySlot], gfn: u64) -> None:
    """The guest may write to ``gfn`` from now on."""
    bitmap = READ_ONCE(slot.dirty_bitmap)
    if bitmap != NULL:
        i = gfn - slot.base_gfn
        atomic_or(bitmap[i >> 6], 1 << (i & 63))


@kernel
def fault_in(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, pfn: u64, level: u64,
    writable: u64,
) -> u64:  # fmt: skip
    """Under ``mmu_lock`` for reading: relax permissions, or map the leaf of ``gfn`` at
    ``level``,
    ``pfn`` being the frame of ``gfn``."""
    perm = vcpu.arch.fsc == ESR_ELx_FSC_PERM
    if perm and vcpu.arch.fault_level == level:
        return kvm_pgtable_stage2_relax_perms(kvm, vcpu, gfn, S2AP_W if writable else 0)
    mc = addr(vcpu.arch.mmu_page_cache)
    if MEMCACHE_UNSET:
        mc = unset_memcache(vcpu, not perm)
    pages = kvm_granule_pages(level)
    offset = gfn & (pages - 1)
    flags = KVM_PGTABLE_WALK_SHARED | KVM_PGTABLE_WALK_HANDLE_FAULT
    attr = stage2_set_prot_attr(writable)
    data = addr(vcpu.arch.walk)
    return kvm_pgtable_stage2_map(kvm, data, gfn - offset, pages, pfn - offset, attr, mc, flags)


@kernel
def map_found(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, write: u64, pfn: u64,
    writable: u64, level: u64, mmu_seq: u64,
) -> u64:  # fmt: skip
    """The host's frame is found: map it, if it is still right."""
    if READ_ONCE(slot.dirty_bitmap) != NULL:
        writable = writable and write
    first = gfn_to_hva(slot, gfn) - (gfn & (kvm_granule_pages(level) - 1))
    ret: u64 = EAGAIN
    kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
    stale: u64 = 0
    if CHECK_RETRY:
        stale = mmu_invalidate_retry(kvm, mmu_seq, first, first + kvm_granule_pages(level))
    if not stale:
        if TRANSPARENT_HUGEPAGE:
            level = transparent_hugepage_adjust(kvm, vcpu, slot, gfn, level)
        ret = fault_in(kvm, vcpu, slot, gfn, pfn, level, writable)
    kvm_release_faultin_page(kvm, pfn, ret != 0)
    kvm_mmu_read_unlock(kvm)
    if ret == 0 and writable:
        mark_page_dirty_in_slot(slot, gfn)
    if ret == EAGAIN:
        vcpu.stat.retries += 1
        cpu_relax()
        ret = 0
    return RESUME_HOST if ret else RESUME_GUEST


@kernel
def user_mem_abort(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, write: u64
) -> u64:
    """A translation or a permission fault."""
    logging = READ_ONCE(slot.dirty_bitmap) != NULL
    if vcpu.arch.fsc != ESR_ELx_FSC_PERM or (logging and write):
        mc = addr(vcpu.arch.mmu_page_cache)
        if kvm_mmu_topup_memory_cache(kvm, mc, stage2_pgtable_levels() - 1):
            return RESUME_HOST
    level: u64 = 0
    if SEQ_AFTER_SIZE:
        level = fault_level(slot, gfn)
    mmu_seq = READ_ONCE(kvm.mmu_invalidate_seq)
    smp_rmb()  # pairs with the release in kvm_mmu_invalidate_end()
    if not SEQ_AFTER_SIZE:
        level = fault_level(slot, gfn)
    pfn, writable = hva_to_pfn(kvm.mm, gfn_to_hva(slot, gfn), write)
    if pfn >= PFN_ERR:
        if pfn == PFN_ERR_RETRY:
            cpu_relax()
            return RESUME_GUEST
        return RESUME_HOST
    return map_found(kvm, vcpu, slot, gfn, write, pfn, writable, level, mmu_seq)


@kernel
def handle_access_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64) -> None:
    """An access flag fault: do what the hardware could not."""
    kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
    leaf = kvm_pgtable_stage2_mkyoung(kvm, vcpu, gfn)
    kvm_mmu_read_unlock(kvm)
    if ACCESS_FAULT_MARKS and kvm_pte_valid(leaf):
        kvm_set_pfn_accessed(kvm, kvm_pte_to_pfn(leaf))


@kernel
def kvm_handle_guest_abort(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """A fault of ``vcpu``, which is outside guest mode; see ``kvm_arch_vcpu_page_fault``."""
    rcu_core()
    vcpu.stat.faults += 1
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return RESUME_HOST
    if vcpu.arch.fsc == ESR_ELx_FSC_ACCESS:
        handle_access_fault(kvm, vcpu, gfn)
        return RESUME_GUEST
    return user_mem_abort(kvm, vcpu, slot, gfn, write)
