"""Page faults of the shadow MMU: the guest's, by direct tables, or those of a guest of its own.

Rules
-----
* A fast page fault is tried first. The frame is then looked up without a lock; all else happens
  under ``mmu_lock`` held for writing, where the retry counter tells whether the frame is right.
* What the fault may need is set aside before the lock is taken.
* A vCPU that runs a guest of the guest (``guest_mode``) faults on that one's pages: the guest's
  own tables say which page of the guest's is meant (``guest_walk``), and indirect tables follow
  them (``fetch``). It has no fast page faults.

Source: arch/x86/kvm/mmu/mmu.c (``direct_page_fault``, ``mmu_topup_memory_caches``,
``mmu_alloc_direct_roots``), paging_tmpl.h (``FNAME(page_fault)``).
Known limits: on return to the guest the access is tried again.
"""

from __future__ import annotations

from mkold.kvm.memory_cache import kvm_mmu_topup_memory_cache
from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.release import kvm_release_faultin_page
from mkold.kvm.retry import mmu_invalidate_retry
from mkold.kvm.types import RESUME_GUEST, RESUME_HOST, MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.x86.mmu.memslot import kvm_mmu_max_mapping_level
from mkold.kvm.x86.mmu.spte import KVM_PAGES_PER_HPAGE, PG_LEVEL_4K, ROOT_LEVEL
from mkold.kvm.x86.shadow.fast_page_fault import shadow_fast_page_fault
from mkold.kvm.x86.shadow.fetch import fetch_walked
from mkold.kvm.x86.shadow.guest_walk import WALK_MISS, WALK_RETRY, walk_guest_tables
from mkold.kvm.x86.shadow.map import direct_map
from mkold.kvm.x86.shadow.pages import ACC_ALL, kvm_mmu_get_shadow_page, role_of
from mkold.kvm.x86.shadow.prefetch import PTE_PREFETCH_NUM, direct_pte_prefetch
from mkold.kvm.x86.shadow.zap import make_mmu_pages_available
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
    """What a fault may need: a table a level, and a desc for each and for the leaves."""
    shadow = addr(kvm.arch.shadow)
    arch = addr(vcpu.arch)
    descs, tables = addr(arch.mmu_pte_list_desc_cache), addr(arch.mmu_shadow_page_cache)
    if kvm_mmu_topup_memory_cache(
        descs, addr(shadow.pte_list_desc_cache), ROOT_LEVEL + PTE_PREFETCH_NUM
    ):
        return 1
    return kvm_mmu_topup_memory_cache(tables, addr(kvm.arch.mmu_page_cache), ROOT_LEVEL)


@kernel
def mmu_topup_indirect_cache(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """What a fault needs beside that where tables follow a guest's own."""
    infos = addr(vcpu.arch.mmu_shadowed_info_cache)
    cache = addr(kvm.arch.shadow.shadowed_info_cache)
    return kvm_mmu_topup_memory_cache(infos, cache, ROOT_LEVEL)


@kernel
def mmu_topup(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """All that the next fault of ``vcpu`` may need; 0, or 1 if there is no memory."""
    if mmu_topup_memory_caches(kvm, vcpu):
        return 1
    return vcpu.arch.guest_mode and mmu_topup_indirect_cache(kvm, vcpu)


@kernel
def kvm_mmu_load(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Give ``vcpu`` a root, if it has none; 0, or 1 if there is no memory."""
    if vcpu.arch.root != NULL:
        return 0
    if mmu_topup(kvm, vcpu):
        return 1
    gfn: u64 = 0
    direct: u64 = 1
    if vcpu.arch.guest_mode:
        gfn = kvm.arch.shadow.l1_root
        direct = 0
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    root = kvm_mmu_get_shadow_page(kvm, vcpu, gfn, ROOT_LEVEL, role_of(direct, ACC_ALL))
    root.root_count += 1
    kvm_mmu_unlock(kvm)
    vcpu.arch.root = root
    return 0


@kernel
def map_if_right(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot],
    gfn: u64, pfn: u64, writable: u64, mmu_seq: u64, n_gfn: u64,
) -> u64:  # fmt: skip
    """Map ``gfn`` if its frame is still ``pfn``, and there are tables left; 1 if not."""
    level: u64 = PG_LEVEL_4K
    if not vcpu.arch.guest_mode:
        level = kvm_mmu_max_mapping_level(kvm, slot, gfn)
    npages = KVM_PAGES_PER_HPAGE(level)
    first = gfn_to_hva(slot, gfn & ~(npages - 1))
    stale: u64 = 0
    kvm_mmu_lock(kvm, addr(vcpu.stat.lock_waits))
    if CHECK_RETRY:
        stale = mmu_invalidate_retry(kvm, mmu_seq, first, first + npages)
    if not stale:
        stale = make_mmu_pages_available(kvm)
    if not stale:
        if vcpu.arch.guest_mode:
            fetch_walked(kvm, vcpu, slot, n_gfn, pfn, writable)
        else:
            sp = direct_map(kvm, vcpu, slot, gfn, pfn, level, writable)
            if level == PG_LEVEL_4K:
                direct_pte_prefetch(kvm, vcpu, slot, sp, gfn)
    kvm_mmu_unlock(kvm)
    return stale


@kernel
def fault_in_and_map(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, n_gfn: u64, write: u64
) -> u64:
    """Look up the frame of ``gfn`` and map it; RESUME_GUEST also where a retry is due."""
    mmu_seq = READ_ONCE(kvm.mmu_invalidate_seq)
    smp_rmb()  # pairs with the lock in kvm_mmu_invalidate_end: seq first, then the frame
    pfn, writable = hva_to_pfn(kvm.mm, gfn_to_hva(slot, gfn), write)
    if pfn >= PFN_ERR:
        if pfn == PFN_ERR_RETRY:
            cpu_relax()
            return RESUME_GUEST
        return RESUME_HOST
    stale = map_if_right(kvm, vcpu, slot, gfn, pfn, writable, mmu_seq, n_gfn)
    kvm_release_faultin_page(kvm, pfn, stale)
    if stale:
        vcpu.stat.retries += 1
        cpu_relax()
    return RESUME_GUEST


@kernel
def nested_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_gfn: u64, write: u64) -> u64:
    """A fault of a guest of the guest, on its page ``n_gfn``."""
    found = walk_guest_tables(kvm, vcpu, n_gfn, write)
    if found == WALK_RETRY:
        cpu_relax()
        return RESUME_GUEST
    gfn = vcpu.arch.walker.gfn
    slot = gfn_to_memslot(kvm, gfn)
    if found == WALK_MISS or slot == NULL or mmu_topup(kvm, vcpu):
        return RESUME_HOST
    return fault_in_and_map(kvm, vcpu, slot, gfn, n_gfn, write)


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
    if kvm_mmu_load(kvm, vcpu):
        return RESUME_HOST
    if vcpu.arch.guest_mode:
        return nested_page_fault(kvm, vcpu, gfn, write)
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return RESUME_HOST
    if shadow_fast_page_fault(vcpu, slot, gfn, write) != RET_PF_RETRY:
        return RESUME_GUEST
    if mmu_topup(kvm, vcpu):
        return RESUME_HOST
    return fault_in_and_map(kvm, vcpu, slot, gfn, gfn, write)
