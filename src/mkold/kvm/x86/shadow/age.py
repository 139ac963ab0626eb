"""Aging by the reverse map: without ``mmu_lock`` since 6.15, under it before.

Rules
-----
* Lockless: the bit of a page's word is held while its chain is walked, so the SPTEs listed may
  be touched, whatever becomes of them meanwhile. One that is not present is left out.
* Where the hardware sets A it is cleared by one atomic operation that touches no other bit.
  Where it does not, one compare-and-swap makes the SPTE access-tracked; if it fails, somebody
  else has changed the SPTE, and the page is young all the same.
* The gate is ``indirect_shadow_pages``: where a TDP MMU maps the guest, and no guest of its own
  was shadowed, there is nothing to look at.
* A large page's word is looked at once for each range that touches it. Linux 6.15 goes from the
  range's start by the size of a large page, and so may miss the last one of a range that does
  not start on one (``RMAP_STEP_FROM_START``).
* Locked (up to 6.12): the SPTEs are walked without the bit.

Source: arch/x86/kvm/mmu/mmu.c (``kvm_rmap_age_gfn_range``, ``kvm_may_have_shadow_mmu_sptes``);
af3b6a9eba48 ("Walk rmaps (shadow MMU) without holding mmu_lock when aging gfns"), 8c403cf23119;
of 6.12 ``kvm_age_rmap``, ``kvm_test_age_rmap``.
"""

from __future__ import annotations

from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.mmu.spte import (
    EPT,
    KVM_PAGES_PER_HPAGE,
    PG_LEVEL_4K,
    is_accessed_spte,
    is_shadow_present_pte,
    mark_spte_for_access_track,
    spte_ad_enabled,
)
from mkold.kvm.x86.mmu.unsync import TDP_MMU_ENABLED
from mkold.kvm.x86.shadow.memslot_rmap import (
    KVM_MAX_HUGEPAGE_LEVEL,
    gfn_to_rmap,
)
from mkold.kvm.x86.shadow.rmap import (
    KVM_RMAP_MANY,
    kvm_rmap_get,
    kvm_rmap_lock_readonly,
    kvm_rmap_unlock_readonly,
    rmap_desc,
    rmap_next,
    rmap_sptep,
)
from mkold.kvm.x86.shadow.spte_update import mmu_spte_age
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    cast,
    clear_bit,
    cmpxchg,
    kernel,
    parameter,
    smp_load_acquire,
    u64,
)

# 1: as in Linux, a large page's size from wherever the range starts.
RMAP_STEP_FROM_START = parameter("RMAP_STEP_FROM_START", 0)
# What the lockless ager looks at where there is a TDP MMU: 0, as in Linux, the count of
# indirect pages alone; 1 the flag that publishes the words too, by an acquire.
RMAP_GATE = parameter("RMAP_GATE", 1)

ACCESSED_BIT = 5 + 3 * EPT


@kernel
def kvm_may_have_shadow_mmu_sptes(kvm: Ptr[Kvm]) -> u64:
    """Whether any page may be mapped by the shadow MMU."""
    if not TDP_MMU_ENABLED:
        return 1
    if not READ_ONCE(kvm.arch.indirect_shadow_pages):
        return 0
    return not RMAP_GATE or smp_load_acquire(kvm.arch.shadow_root_allocated)


@kernel
def age_spte_lockless(sptep: Ptr[u64], spte: u64) -> None:
    """The page of a leaf just read as ``spte`` is old, unless somebody is at it."""
    if spte_ad_enabled(spte):
        clear_bit(sptep.value, ACCESSED_BIT)
    else:
        cmpxchg(sptep.value, spte, mark_spte_for_access_track(spte))


@kernel
def age_listed(sptep: Ptr[u64], clear: u64) -> u64:
    """Test (and clear) one SPTE, its chain being locked; 1 if it was young."""
    spte = READ_ONCE(sptep.value)
    if not is_shadow_present_pte(spte) or not is_accessed_spte(spte):
        return 0
    if clear:
        age_spte_lockless(sptep, spte)
    return 1


@kernel
def kvm_rmap_age(rmap_head: Ptr[u64], clear: u64) -> u64:
    """Test (and clear) all SPTEs of a page, or test up to the first young one; 1 if any is."""
    young: u64 = 0
    val = kvm_rmap_lock_readonly(rmap_head)
    if val & KVM_RMAP_MANY:
        desc = rmap_desc(val)
        i: u64 = 0
        while desc != NULL and (clear or not young):
            young |= age_listed(cast(Ptr[u64], desc.sptes[i]), clear)
            desc, i = rmap_next(desc, i)
    elif val != 0:
        young = age_listed(rmap_sptep(val), clear)
    kvm_rmap_unlock_readonly(rmap_head, val)
    return young


@kernel
def next_rmap_gfn(gfn: u64, level: u64) -> u64:
    """Where the walk at ``level`` goes on after ``gfn``."""
    npages = KVM_PAGES_PER_HPAGE(level)
    if RMAP_STEP_FROM_START:
        return gfn + npages
    return (gfn & ~(npages - 1)) + npages


@kernel
def kvm_rmap_age_gfn_range(slot: Ptr[MemorySlot], start: u64, end: u64, clear: u64) -> u64:
    """Test (and clear) guest pages ``[start, end)`` of the slot; 1 if any is young.

    Ordering
    --------
    Takes the bit of one word at a time, and no other lock.
    """
    young: u64 = 0
    for level in range(PG_LEVEL_4K, KVM_MAX_HUGEPAGE_LEVEL + 1):
        gfn = start
        while gfn < end:
            young |= kvm_rmap_age(gfn_to_rmap(slot, gfn, level), clear)
            if young and not clear:
                return 1
            gfn = next_rmap_gfn(gfn, level)
    return young


# -- under mmu_lock ----------------------------------------------------------------------------


@kernel
def age_locked(sptep: Ptr[u64], clear: u64) -> u64:
    """Test (and clear) one SPTE; 1 if it was young."""
    if clear:
        return mmu_spte_age(sptep)
    spte = READ_ONCE(sptep.value)
    return is_shadow_present_pte(spte) and is_accessed_spte(spte)


@kernel
def kvm_age_rmap(rmap_head: Ptr[u64], clear: u64) -> u64:
    """``kvm_rmap_age`` under ``mmu_lock`` held for writing."""
    young: u64 = 0
    val = kvm_rmap_get(rmap_head)
    if val & KVM_RMAP_MANY:
        desc = rmap_desc(val)
        i: u64 = 0
        while desc != NULL:
            young |= age_locked(cast(Ptr[u64], desc.sptes[i]), clear)
            desc, i = rmap_next(desc, i)
    elif val != 0:
        young = age_locked(rmap_sptep(val), clear)
    return young


@kernel
def kvm_age_rmap_range(slot: Ptr[MemorySlot], start: u64, end: u64, clear: u64) -> u64:
    """``kvm_rmap_age_gfn_range`` under ``mmu_lock`` held for writing, up to 6.12."""
    young: u64 = 0
    for level in range(PG_LEVEL_4K, KVM_MAX_HUGEPAGE_LEVEL + 1):
        first = gfn_to_rmap(slot, start, level)
        n = gfn_to_rmap(slot, end - 1, level) - first + 1
        for i in range(n):
            young |= kvm_age_rmap(first + i, clear)
    return young
