"""Write protection by the reverse map: for the dirty log, and of the guest's own tables.

Rules
-----
* Under ``mmu_lock`` held for writing; chains are walked without the bit, as only SPTEs change.
* For the log W goes, and may come back by a fast page fault, which tells the log. Where the
  page is a table that is being followed, MMU-writable goes too, so that no fast page fault
  gives W back; an SPTE counts as writable there if it has either.
* The log is read, then cleared, then written again: the word is exchanged first, the SPTEs are
  protected after, and the TLBs are flushed.

Source: arch/x86/kvm/mmu/mmu.c (``spte_write_protect``, ``kvm_mmu_slot_gfn_write_protect``,
``kvm_mmu_write_protect_pt_masked``), virt/kvm/kvm_main.c (``kvm_get_dirty_log_protect``);
7c8a4742c4ab (what is MMU-writable has to be protected, W or not).
Known limits: no dirty bits in the log.
"""

from __future__ import annotations

from mkold.kvm.bitops import __ffs
from mkold.kvm.memslots import gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.mmu.spte import (
    PG_LEVEL_4K,
    PT_WRITABLE_MASK,
    SHADOW_MMU_WRITABLE_MASK,
    is_mmu_writable_spte,
    is_shadow_present_pte,
    is_writable_pte,
)
from mkold.kvm.x86.mmu.unsync import TDP_MMU_ENABLED
from mkold.kvm.x86.shadow.memslot_rmap import (
    KVM_MAX_HUGEPAGE_LEVEL,
    gfn_to_rmap,
)
from mkold.kvm.x86.shadow.rmap import (
    KVM_RMAP_MANY,
    kvm_rmap_get,
    rmap_desc,
    rmap_next,
    rmap_sptep,
)
from mkold.kvm.x86.shadow.spte_update import mmu_spte_update
from mkold.kvm.x86.tdp.dirty import kvm_tdp_mmu_write_protect_gfn
from mkold.lang import NULL, READ_ONCE, Ptr, addr, cast, kernel, parameter, u64, xchg

# 0: an SPTE without W is passed over, MMU-writable or not: a fault of its time (7c8a4742c4ab).
PROTECT_MMU_WRITABLE = parameter("PROTECT_MMU_WRITABLE", 1)


@kernel
def spte_write_protect(sptep: Ptr[u64], pt_protect: u64) -> u64:
    """Protect one SPTE; 1 if the TLBs have to be flushed."""
    spte = READ_ONCE(sptep.value)
    if not is_shadow_present_pte(spte):
        return 0
    again = PROTECT_MMU_WRITABLE and pt_protect and is_mmu_writable_spte(spte)
    if not is_writable_pte(spte) and not again:
        return 0
    if pt_protect:
        spte &= ~SHADOW_MMU_WRITABLE_MASK
    flush = mmu_spte_update(sptep, spte & ~PT_WRITABLE_MASK)
    return flush or is_writable_pte(spte)


@kernel
def rmap_write_protect(rmap_head: Ptr[u64], pt_protect: u64) -> u64:
    """Protect all SPTEs of a page; 1 if the TLBs have to be flushed."""
    flush: u64 = 0
    val = kvm_rmap_get(rmap_head)
    if val & KVM_RMAP_MANY:
        desc = rmap_desc(val)
        i: u64 = 0
        while desc != NULL:
            flush |= spte_write_protect(cast(Ptr[u64], desc.sptes[i]), pt_protect)
            desc, i = rmap_next(desc, i)
    elif val != 0:
        flush = spte_write_protect(rmap_sptep(val), pt_protect)
    return flush


@kernel
def kvm_mmu_slot_gfn_write_protect(slot: Ptr[MemorySlot], gfn: u64, min_level: u64) -> u64:
    """No SPTE of ``min_level`` or above lets write to ``gfn``, nor a fast page fault give W
    back; 1 if the TLBs have to be flushed."""
    flush: u64 = 0
    for level in range(min_level, KVM_MAX_HUGEPAGE_LEVEL + 1):
        flush |= rmap_write_protect(gfn_to_rmap(slot, gfn, level), 1)
    return flush


@kernel
def kvm_vcpu_write_protect_gfn(kvm: Ptr[Kvm], gfn: u64) -> u64:
    """As ``kvm_mmu_slot_gfn_write_protect``, by the TDP MMU's entries too where there are any,
    for a page that may lie in no slot."""
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return 0
    flush = kvm_mmu_slot_gfn_write_protect(slot, gfn, PG_LEVEL_4K)
    if TDP_MMU_ENABLED:
        flush |= kvm_tdp_mmu_write_protect_gfn(kvm, gfn, PG_LEVEL_4K)
    return flush


@kernel
def kvm_mmu_write_protect_pt_masked(slot: Ptr[MemorySlot], offset: u64, mask: u64) -> None:
    """The next write to each page of ``mask``, which begins at the slot's page ``offset``,
    faults; the caller flushes."""
    while mask:
        gfn = slot.base_gfn + offset + __ffs(mask)
        rmap_write_protect(gfn_to_rmap(slot, gfn, PG_LEVEL_4K), 0)
        mask &= mask - 1


@kernel
def kvm_get_dirty_log_protect(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64]) -> u64:
    """Move the slot's dirty pages to ``log`` (one bit a page) and start afresh; 0, or 1 if the
    slot is not logged."""
    bitmap = READ_ONCE(slot.dirty_bitmap)
    if bitmap == NULL:
        return 1
    flush: u64 = 0
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    for i in range((slot.npages + 63) >> 6):
        log[i] = 0
        if READ_ONCE(bitmap[i]):
            log[i] = xchg(bitmap[i], 0)
            flush = 1
            kvm_mmu_write_protect_pt_masked(slot, i << 6, log[i])
    if flush:
        kvm_flush_remote_tlbs(kvm)
    kvm_mmu_unlock(kvm)
    return 0
