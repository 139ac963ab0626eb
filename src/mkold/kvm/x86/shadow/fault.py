"""Page faults of a guest without tables of its own to follow: direct tables.

Rules
-----
* A fast page fault is tried first. The frame is then looked up without a lock; all else happens
  under ``mmu_lock`` held for writing, where the retry counter tells whether the frame is right.
* What the fault may need is set aside before the lock is taken.
* A leaf is in the chain of its page's word, at its level; it is present before it is listed.
* A larger leaf gives way to tables, and tables to a larger leaf: they are unlinked, and stay to
  be found again.
* A page that a table of the guest's own lies in is not writable (``gfn_is_write_tracked``).

Source: arch/x86/kvm/mmu/mmu.c (``direct_page_fault``, ``direct_map``, ``mmu_set_spte``,
``mmu_topup_memory_caches``, ``mmu_alloc_direct_roots``).
Known limits: no prefetch; on return to the guest the access is tried again.
"""

from __future__ import annotations

from mkold.kvm.memory_cache import kvm_mmu_topup_memory_cache
from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.retry import mmu_invalidate_retry
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST, MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.mmu.memslot import kvm_mmu_max_mapping_level, mark_page_dirty_in_slot
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    KVM_PAGES_PER_HPAGE,
    ROOT_LEVEL,
    is_last_spte,
    is_shadow_present_pte,
    make_leaf_spte,
    spte_index,
    spte_to_pfn,
)
from mkold.kvm.x86.shadow.fast_page_fault import shadow_fast_page_fault
from mkold.kvm.x86.shadow.pages import (
    ACC_ALL,
    gfn_is_write_tracked,
    kvm_mmu_get_shadow_page,
    kvm_mmu_page_set_translation,
    role_of,
)
from mkold.kvm.x86.shadow.rmap_zap import rmap_add
from mkold.kvm.x86.shadow.spte_update import mmu_spte_update
from mkold.kvm.x86.shadow.zap import (
    kvm_mmu_get_child_sp,
    make_mmu_pages_available,
    mmu_page_zap_pte,
)
from mkold.kvm.x86.tdp.map import RET_PF_RETRY
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
from mkold.mm.mm_types import PFN_ERR, PFN_ERR_RETRY
from mkold.sync.rcu import rcu_core

# 0 leaves out the check of the retry counter: a seeded fault for the tests.
CHECK_RETRY = parameter("CHECK_RETRY", 1)


@kernel
def mmu_topup_memory_caches(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """What a fault may need: a table a level, and a desc for each and for the leaf."""
    descs = addr(kvm.arch.shadow.pte_list_desc_cache)
    if kvm_mmu_topup_memory_cache(
        addr(vcpu.arch.mmu_pte_list_desc_cache), descs, ROOT_LEVEL + 1
    ):
        return 1
    tables = addr(kvm.arch.mmu_page_cache)
    return kvm_mmu_topup_memory_cache(addr(vcpu.arch.mmu_shadow_page_cache), tables, ROOT_LEVEL)


@kernel
def mmu_topup_indirect_cache(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """What a fault needs beside that where tables follow a guest's own."""
    infos = addr(kvm.arch.shadow.shadowed_info_cache)
    return kvm_mmu_topup_memory_cache(
        addr(vcpu.arch.mmu_shadowed_info_cache), infos, ROOT_LEVEL
    )


@kernel
def kvm_mmu_load(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Give ``vcpu`` a root, if it has none; 0, or 1 if there is no memory."""
    if vcpu.arch.root != NULL:
        return 0
    if mmu_topup_memory_caches(kvm, vcpu):
        return 1
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    root = kvm_mmu_get_shadow_page(kvm, vcpu, 0, ROOT_LEVEL, role_of(1, ACC_ALL))
    root.root_count += 1
    kvm_mmu_unlock(kvm)
    vcpu.arch.root = root
    return 0


@kernel
def make_spte(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], gfn: u64, pfn: u64, level: u64, writable: u64
) -> u64:
    """The leaf that maps ``pfn``, the frame of ``gfn``, and those beside it at ``level``."""
    if writable and gfn_is_write_tracked(kvm, gfn):
        writable = 0
    if writable:
        mark_page_dirty_in_slot(slot, gfn)
    first = pfn - (gfn & (KVM_PAGES_PER_HPAGE(level) - 1))
    return make_leaf_spte(not KVM_AD_ENABLED, first, level, writable)


@kernel
def mmu_set_spte(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot],
    sp: Ptr[KvmMmuPage], index: u64, gfn: u64, spte: u64,
) -> None:  # fmt: skip
    """Entry ``index`` of ``sp`` maps ``gfn``, and what is beside it, by the leaf ``spte``."""
    sptep = sp_spt(sp) + index
    old = READ_ONCE(sptep.value)
    flush: u64 = 0
    was_rmapped: u64 = 0
    if is_shadow_present_pte(old):
        if is_last_spte(old, sp.level) and spte_to_pfn(old) == spte_to_pfn(spte):
            was_rmapped = 1
        else:
            mmu_page_zap_pte(kvm, sp, index)
            flush = 1
    if not was_rmapped or old != spte:
        flush |= mmu_spte_update(sptep, spte)
    if flush:
        kvm_flush_remote_tlbs(kvm)
    if not was_rmapped:
        kvm_mmu_page_set_translation(sp, index, gfn)
        rmap_add(vcpu, slot, sptep, gfn, sp.level)


@kernel
def direct_map(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot],
    gfn: u64, pfn: u64, level: u64, writable: u64,
) -> None:  # fmt: skip
    """Under the lock: map ``gfn`` by a leaf of ``level``."""
    sp = vcpu.arch.root
    for at in range(ROOT_LEVEL, level, -1):
        first = gfn & ~(KVM_PAGES_PER_HPAGE(at) - 1)
        role = role_of(1, ACC_ALL)
        sp = kvm_mmu_get_child_sp(kvm, vcpu, sp, spte_index(gfn, at), first, role)
    spte = make_spte(kvm, slot, gfn, pfn, level, writable)
    mmu_set_spte(kvm, vcpu, slot, sp, spte_index(gfn, level), gfn, spte)


@kernel
def direct_page_fault(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, write: u64
) -> u64:
    """Look up the frame of ``gfn`` and map it; RESUME_GUEST also where a retry is due."""
    mmu_seq = READ_ONCE(kvm.mmu_invalidate_seq)
    smp_rmb()  # pairs with the lock in kvm_mmu_invalidate_end: seq first, then the frame
    hva = gfn_to_hva(slot, gfn)
    pfn, writable = hva_to_pfn(kvm.mm, hva, write)
    if pfn >= PFN_ERR:
        if pfn == PFN_ERR_RETRY:
            cpu_relax()
            return RESUME_GUEST
        return RESUME_HOST
    level = kvm_mmu_max_mapping_level(slot, gfn)
    npages = KVM_PAGES_PER_HPAGE(level)
    first = hva - (gfn & (npages - 1))
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    stale: u64 = 0
    if CHECK_RETRY:
        stale = mmu_invalidate_retry(kvm, mmu_seq, first, first + npages)
    if not stale:
        stale = make_mmu_pages_available(kvm)
    if not stale:
        direct_map(kvm, vcpu, slot, gfn, pfn, level, writable)
    kvm_mmu_unlock(kvm)
    if stale:
        vcpu.stat.retries += 1
        cpu_relax()
    return RESUME_GUEST


@kernel
def kvm_shadow_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """Handle a fault of ``vcpu``, which is outside guest mode.

    Returns
    -------
    RESUME_GUEST: try the access again; RESUME_HOST: the guest has no memory there, or the host
    has no frame for it
    """
    rcu_core()
    vcpu.stat.faults += 1
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL or kvm_mmu_load(kvm, vcpu):
        return RESUME_HOST
    if shadow_fast_page_fault(vcpu, slot, gfn, write) != RET_PF_RETRY:
        return RESUME_GUEST
    if mmu_topup_memory_caches(kvm, vcpu):
        return RESUME_HOST
    return direct_page_fault(kvm, vcpu, slot, gfn, write)
