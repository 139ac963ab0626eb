"""Neighbours mapped ahead: a fault in a direct table maps what lies beside its page too.

Rules
-----
* Once a fault has mapped a base page, the entries of the aligned block of ``PTE_PREFETCH_NUM``
  around it that map nothing are mapped as well, old: one run of them after the other, each up
  to the first page that the process has not, or may not write.
* A run that reaches out of the memslot, or of which no page is had, ends it all.
* None of it while an invalidation is under way, with a dirty log, or without accessed bits.
* KVM lets go of each as of a page that a fault mapped.

Source: arch/x86/kvm/mmu/mmu.c (``direct_pte_prefetch``, ``kvm_mmu_prefetch_sptes``).
Known limits: not for the tables of a guest's guest (``FNAME(pte_prefetch)``).
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva
from mkold.kvm.release import kvm_release_faultin_page
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    PG_LEVEL_4K,
    is_shadow_present_pte,
    mark_spte_for_access_track,
    spte_index,
)
from mkold.kvm.x86.shadow.map import make_spte, mmu_set_spte
from mkold.lang import NULL, READ_ONCE, Ptr, kernel, parameter, u64
from mkold.mm.fault.memory import hva_to_pfn_fast
from mkold.mm.mm_types import PFN_ERR

# Entries of a block: 8 in Linux; 1: there is no looking ahead.
PTE_PREFETCH_NUM = parameter("PTE_PREFETCH_NUM", 1)


@kernel
def is_empty(sp: Ptr[KvmMmuPage], gfn: u64) -> bool:
    """Whether the entry of ``gfn`` maps nothing."""
    sptep = sp_spt(sp) + spte_index(gfn, PG_LEVEL_4K)
    return not is_shadow_present_pte(READ_ONCE(sptep.value))


@kernel
def kvm_mmu_prefetch_sptes(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot],
    sp: Ptr[KvmMmuPage], gfn: u64, n: u64,
) -> bool:  # fmt: skip
    """Map a run of ``n`` pages from ``gfn`` on, as far as there are any; False: none is."""
    if gfn < slot.base_gfn or gfn + n > slot.base_gfn + slot.npages:
        return False
    for i in range(n):
        pfn = hva_to_pfn_fast(kvm.mm, gfn_to_hva(slot, gfn + i))
        if pfn >= PFN_ERR:
            return i > 0
        spte = mark_spte_for_access_track(make_spte(kvm, slot, gfn + i, pfn, PG_LEVEL_4K, 1))
        mmu_set_spte(kvm, vcpu, slot, sp, spte_index(gfn + i, PG_LEVEL_4K), gfn + i, spte)
        kvm_release_faultin_page(kvm, pfn, 0)
    return True


@kernel
def direct_pte_prefetch(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], sp: Ptr[KvmMmuPage], gfn: u64
) -> None:
    """Map what lies beside ``gfn``, which ``sp`` maps now; ``mmu_lock`` is held."""
    if PTE_PREFETCH_NUM == 1 or not KVM_AD_ENABLED:
        return
    if READ_ONCE(kvm.mmu_invalidate_in_progress) or READ_ONCE(slot.dirty_bitmap) != NULL:
        return
    at: u64 = gfn & ~(PTE_PREFETCH_NUM - 1)
    end: u64 = at + PTE_PREFETCH_NUM
    while at < end:
        n: u64 = 0
        while at + n < end and is_empty(sp, at + n):
            n += 1
        if n and not kvm_mmu_prefetch_sptes(kvm, vcpu, slot, sp, at, n):
            return
        at += n + 1
