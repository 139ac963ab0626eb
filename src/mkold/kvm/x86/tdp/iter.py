"""Walks of a root's tables, and the places where a long one lets others have the lock.

Rules
-----
* Each entry is read once on the way down. Tables are reached by address dependency; under RCU,
  or in guest mode, none of them is freed before the walk is done with it.
* A walk goes down through entries that are present to KVM and no leaves, and begins anew at the
  root for each step: so an entry that was a leaf and is a table now is met as what it is.
* Entries are met from the first page asked for on; a large leaf or table that begins before it
  is met whole.
* Who yields has done what it had put off (a flush) first, and looks at the same page again
  after.

Sources: arch/x86/kvm/mmu/tdp_iter.c, tdp_mmu.c (``tdp_mmu_iter_cond_resched``); commits
3a0f64de479c (the same page again), a835429cda91 (flush before yielding).
Known limits: yields every so many entries, not when somebody needs the processor; always by
dropping the lock for a moment, as long as nobody waits even less.
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import (
    kvm_mmu_lock,
    kvm_mmu_read_lock,
    kvm_mmu_read_unlock,
    kvm_mmu_unlock,
)
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.mmu.flush import kvm_flush_remote_tlbs_unlocked
from mkold.kvm.x86.mmu.spte import (
    ROOT_LEVEL,
    is_large_pte,
    is_last_spte,
    is_shadow_present_pte,
    level_shift,
    spte_index,
    spte_to_child_pt,
)
from mkold.lang import (
    READ_ONCE,
    Ptr,
    kernel,
    parameter,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)

# A walk yields once in so many entries; 0: never.
YIELD_EVERY = parameter("YIELD_EVERY", 512)
# 0 forgets a flush, or goes on behind the page: faults of their time.
FLUSH_BEFORE_YIELD = parameter("FLUSH_BEFORE_YIELD", 1)
SAME_PAGE_AFTER_YIELD = parameter("SAME_PAGE_AFTER_YIELD", 1)

# How ``mmu_lock`` is held.
SHARED = 1
EXCLUSIVE = 0


@kernel
def tdp_walk(spt: Ptr[u64], gfn: u64, min_level: u64) -> tuple[Ptr[u64], u64, u64]:
    """Walk from the root table ``spt`` down to the last entry of ``gfn``, or to ``min_level``.

    Returns
    -------
    sptep, its value, its level
    """
    level: u64 = ROOT_LEVEL
    sptep = spt + spte_index(gfn, level)
    spte = READ_ONCE(sptep.value)
    while level > min_level and is_shadow_present_pte(spte) and not is_large_pte(spte):
        level -= 1
        sptep = spte_to_child_pt(spte) + spte_index(gfn, level)
        spte = READ_ONCE(sptep.value)
    return sptep, spte, level


@kernel
def is_leaf(spte: u64, level: u64) -> bool:
    """Whether an entry maps memory."""
    return is_shadow_present_pte(spte) and is_last_spte(spte, level)


@kernel
def gfn_behind(gfn: u64, level: u64) -> u64:
    """The first page behind what the entry of ``gfn`` at ``level`` covers."""
    shift = level_shift(level)
    return ((gfn >> shift) + 1) << shift


@kernel
def tdp_mmu_max_gfn() -> u64:
    """One past the last page that a root can map."""
    return 1 << level_shift(ROOT_LEVEL + 1)


@kernel
def mmu_lock_again(kvm: Ptr[Kvm], shared: u64, waits: Ptr[u64]) -> None:
    """Let others have ``mmu_lock``, then take it as before."""
    if shared:
        kvm_mmu_read_unlock(kvm)
        kvm_mmu_read_lock(kvm, waits)
    else:
        kvm_mmu_unlock(kvm)
        kvm_mmu_lock(kvm, waits)


@kernel
def tdp_mmu_iter_cond_resched(
    kvm: Ptr[Kvm], n: u64, flush: u64, shared: u64, waits: Ptr[u64]
) -> bool:
    """Yield if it is time, the walk having met ``n`` entries since it last did; whether it
    yielded. ``flush``: what was changed so far has yet to be flushed."""
    if YIELD_EVERY == 0 or n < YIELD_EVERY:
        return False
    if flush and FLUSH_BEFORE_YIELD:
        kvm_flush_remote_tlbs_unlocked(kvm)
    rcu_read_unlock()
    mmu_lock_again(kvm, shared, waits)
    rcu_read_lock()
    return True
