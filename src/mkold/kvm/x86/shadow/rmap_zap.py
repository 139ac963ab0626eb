"""Taking SPTEs away, alone or all of a page's: not present first, then out of the chain.

All under ``mmu_lock`` held for writing; the caller flushes.

Source: arch/x86/kvm/mmu/mmu.c (``rmap_add``, ``rmap_remove``, ``drop_spte``,
``kvm_zap_all_rmap_sptes``, ``__kvm_rmap_zap_gfn_range``).
"""

from __future__ import annotations

from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K
from mkold.kvm.x86.shadow.memslot_rmap import KVM_MAX_HUGEPAGE_LEVEL, gfn_to_rmap
from mkold.kvm.x86.shadow.rmap import (
    KVM_RMAP_MANY,
    PteListDesc,
    kvm_rmap_lock,
    kvm_rmap_unlock,
    pte_list_add,
    pte_list_remove,
    rmap_desc,
    rmap_sptep,
)
from mkold.kvm.x86.shadow.spte_update import mmu_spte_clear_track_bits
from mkold.lang import NULL, Ptr, addr, cast, kernel, u64
from mkold.mm.slab import kmem_cache_free


@kernel
def rmap_add(
    vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], sptep: Ptr[u64], gfn: u64, level: u64
) -> u64:
    """``sptep`` maps the page of ``level`` that ``gfn`` is in; how many SPTEs did before."""
    cache = addr(vcpu.arch.mmu_pte_list_desc_cache)
    return pte_list_add(cache, sptep, gfn_to_rmap(slot, gfn, level))


@kernel
def kvm_zap_one_rmap_spte(kvm: Ptr[Kvm], rmap_head: Ptr[u64], sptep: Ptr[u64]) -> None:
    """The page of ``rmap_head`` is not mapped by ``sptep`` any more."""
    mmu_spte_clear_track_bits(kvm, sptep)
    kvm.stat.unmapped += 1
    pte_list_remove(addr(kvm.arch.shadow.pte_list_desc_cache), sptep, rmap_head)


@kernel
def zap_desc(kvm: Ptr[Kvm], desc: Ptr[PteListDesc]) -> Ptr[PteListDesc]:
    """Locked: zap the SPTEs of a desc, and free it; the next."""
    for i in range(desc.spte_count):
        mmu_spte_clear_track_bits(kvm, cast(Ptr[u64], desc.sptes[i]))
        kvm.stat.unmapped += 1
    more = desc.more
    kmem_cache_free(addr(kvm.arch.shadow.pte_list_desc_cache), cast(u64, desc))
    return more


@kernel
def kvm_zap_all_rmap_sptes(kvm: Ptr[Kvm], rmap_head: Ptr[u64]) -> u64:
    """The page is not mapped any more; 1 if it was."""
    val = kvm_rmap_lock(rmap_head)
    if val == 0:
        return 0
    if not val & KVM_RMAP_MANY:
        mmu_spte_clear_track_bits(kvm, rmap_sptep(val))
        kvm.stat.unmapped += 1
    else:
        desc = rmap_desc(val)
        while desc != NULL:
            desc = zap_desc(kvm, desc)
    kvm_rmap_unlock(rmap_head, 0)
    return 1


@kernel
def kvm_rmap_zap_gfn_range(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], start: u64, end: u64) -> u64:
    """No leaf of any level maps a page of ``[start, end)`` of the slot; 1 if any did."""
    flush = 0
    for level in range(PG_LEVEL_4K, KVM_MAX_HUGEPAGE_LEVEL + 1):
        first = gfn_to_rmap(slot, start, level)
        n = gfn_to_rmap(slot, end - 1, level) - first + 1
        for i in range(n):
            flush |= kvm_zap_all_rmap_sptes(kvm, first + i)
    return flush
