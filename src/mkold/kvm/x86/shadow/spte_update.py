"""Changing an SPTE of the shadow MMU, under ``mmu_lock`` held for writing.

Rules
-----
* Hardware sets A and D, a fast page fault sets W and puts an access-tracked SPTE back, and
  since 6.15 aging clears A, all without the lock: an SPTE that one of them may change is
  replaced by an exchange where what they did must not be lost (``spte_needs_atomic_update``),
  any other by a store.
* The caller flushes where an update says so.
* Up to 6.12 a young SPTE that is zapped marks its page as used.

Source: arch/x86/kvm/mmu/mmu.c (``mmu_spte_set``, ``mmu_spte_update``,
``mmu_spte_clear_track_bits``, ``mmu_spte_age``); when to flush: b7ed46b201a4, 856cf4a60cff.
Known limits: what D of a zapped SPTE tells the host's page is left out, and what A does that an
update takes.
"""

from __future__ import annotations

from mkold.kvm.release import ZAP_MARKS, kvm_set_pfn_accessed
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.mmu.spte import (
    LINUX_VERSION,
    SHADOW_ACCESSED_MASK,
    SHADOW_DIRTY_MASK,
    SHADOW_NONPRESENT_VALUE,
    is_accessed_spte,
    is_mmu_writable_spte,
    is_shadow_present_pte,
    mark_spte_for_access_track,
    spte_ad_enabled,
    spte_needs_atomic_update,
    spte_to_pfn,
)
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    atomic_andnot,
    kernel,
    smp_store_release,
    u64,
    xchg,
)


@kernel
def mmu_spte_set(sptep: Ptr[u64], spte: u64) -> None:
    """``sptep``, which is not present, becomes ``spte``.

    Ordering
    --------
    A release, for who follows it without a lock: what it points to is seen. (In Linux a plain
    WRITE_ONCE, which is one on x86.)
    """
    smp_store_release(sptep.value, spte)


@kernel
def mmu_spte_replace(sptep: Ptr[u64], spte: u64) -> u64:
    """``sptep``, which is present, becomes ``spte``; what it was."""
    old = READ_ONCE(sptep.value)
    if spte_needs_atomic_update(old):
        return xchg(sptep.value, spte)
    WRITE_ONCE(sptep.value, spte)
    return old


@kernel
def spte_change_needs_tlb_flush(old: u64, new: u64) -> u64:
    """Whether a TLB may know of ``old`` what ``new`` does not allow, or has to learn anew."""
    if is_mmu_writable_spte(old) and not is_mmu_writable_spte(new):
        return 1
    if LINUX_VERSION < 613:
        return (old & ~new & (SHADOW_ACCESSED_MASK | SHADOW_DIRTY_MASK)) != 0
    return 0


@kernel
def mmu_spte_update(sptep: Ptr[u64], spte: u64) -> u64:
    """A present leaf becomes ``spte``, of the same frame; 1 if the TLBs have to be flushed."""
    old = READ_ONCE(sptep.value)
    if not is_shadow_present_pte(old):
        mmu_spte_set(sptep, spte)
        return 0
    return spte_change_needs_tlb_flush(mmu_spte_replace(sptep, spte), spte)


@kernel
def mmu_spte_clear_track_bits(kvm: Ptr[Kvm], sptep: Ptr[u64]) -> u64:
    """``sptep`` is not present any more; what it was."""
    old = READ_ONCE(sptep.value)
    if not is_shadow_present_pte(old):
        WRITE_ONCE(sptep.value, SHADOW_NONPRESENT_VALUE)
        return old
    old = mmu_spte_replace(sptep, SHADOW_NONPRESENT_VALUE)
    if ZAP_MARKS and is_accessed_spte(old):
        kvm_set_pfn_accessed(kvm, spte_to_pfn(old))
    return old


@kernel
def mmu_spte_clear_no_track(sptep: Ptr[u64]) -> None:
    """An SPTE that points to a table does so no more."""
    WRITE_ONCE(sptep.value, SHADOW_NONPRESENT_VALUE)


@kernel
def mmu_spte_age(sptep: Ptr[u64]) -> u64:
    """Aging under the lock, before 6.15: the page of a leaf is old; 1 if it was young."""
    spte = READ_ONCE(sptep.value)
    if not is_shadow_present_pte(spte) or not is_accessed_spte(spte):
        return 0
    if spte_ad_enabled(spte):
        atomic_andnot(sptep.value, SHADOW_ACCESSED_MASK)
    else:
        mmu_spte_replace(sptep, mark_spte_for_access_track(spte))
    return 1
