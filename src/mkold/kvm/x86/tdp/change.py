"""An entry changes: how it is written, and what follows from it.

Rules
-----
* Under ``mmu_lock`` held for reading an entry changes by compare-and-swap alone, and not at all
  while it is frozen. Who loses reads it again.
* Under ``mmu_lock`` held for writing it is exchanged if hardware, a fast page fault or aging
  may change it meanwhile (``spte_needs_atomic_update``), else written.
* A table that an entry no longer points to is taken down: parents before children, each entry
  frozen so that no fault fills it, which under the lock held for reading means to wait for
  whoever froze it before; then it is freed after a grace period.
* Up to 6.12 a leaf that goes hands its dirty state to the frame (``kvm_set_pfn_dirty``), and a
  young one, or one that is made old by other than aging, that it was used.

Sources: arch/x86/kvm/mmu/tdp_mmu.c (``handle_changed_spte``, ``handle_removed_pt``,
``tdp_mmu_set_spte_atomic``), tdp_iter.h (``kvm_tdp_mmu_write_spte``); commit ba3a6120a4e7
(an atomic exchange for volatile entries).
Known limits: tables are taken down from a list, not by recursion: of two children the later
one's subtree goes first.
"""

from __future__ import annotations

from mkold.kvm.release import ZAP_MARKS, kvm_set_pfn_accessed
from mkold.kvm.x86.asm.kvm_host import Kvm, sp_spt, spt_sp
from mkold.kvm.x86.mmu.spte import (
    FROZEN_SPTE,
    LINUX_VERSION,
    PG_LEVEL_4K,
    SPTE_ENT_PER_PAGE,
    is_accessed_spte,
    is_dirty_spte,
    is_frozen_spte,
    is_large_pte,
    is_shadow_present_pte,
    spte_needs_atomic_update,
    spte_to_child_pt,
    spte_to_pfn,
)
from mkold.kvm.x86.tdp.iter import is_leaf
from mkold.kvm.x86.tdp.pages import (
    PAGE_STATS,
    tdp_mmu_free_sp_after_readers,
    tdp_unaccount_mmu_page,
)
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    atomic_add,
    atomic_fetch_and,
    cpu_relax,
    kernel,
    parameter,
    try_cmpxchg,
    u64,
    xchg,
)

# 0 writes a leaf by a store, whatever others may do to it: a fault of its time (ba3a6120a4e7).
XCHG_VOLATILE = parameter("XCHG_VOLATILE", 1)


@kernel
def kvm_set_pfn_dirty(pfn: u64) -> None:
    """The frame was written to by the guest. Here the host lets the guest write only to frames
    that its own entry calls dirty, so there is nothing to do."""


@kernel
def kvm_update_page_stats(kvm: Ptr[Kvm], level: u64, count: u64) -> None:
    """So many leaves more of ``level`` (a wrapped number: fewer)."""
    if PAGE_STATS:
        atomic_add(kvm.arch.pages[level - PG_LEVEL_4K], count)


@kernel
def leaf_changed(kvm: Ptr[Kvm], old: u64, new: u64, level: u64) -> None:
    """What an entry's change means for the books: counts of leaves, and dirty frames."""
    was = is_leaf(old, level)
    now = is_leaf(new, level)
    if was and not now:
        kvm_update_page_stats(kvm, level, ~0)
    elif now and not was:
        kvm_update_page_stats(kvm, level, 1)
    same = now and is_dirty_spte(new) and spte_to_pfn(new) == spte_to_pfn(old)
    if LINUX_VERSION < 613 and was and is_dirty_spte(old) and not same:
        kvm_set_pfn_dirty(spte_to_pfn(old))


@kernel
def handle_changed_spte_acc_track(kvm: Ptr[Kvm], old: u64, new: u64, level: u64) -> None:
    """The guest used what ``old`` mapped, if nothing will say so any more."""
    if ZAP_MARKS and is_leaf(old, level) and is_accessed_spte(old):
        same = is_leaf(new, level) and spte_to_pfn(new) == spte_to_pfn(old)
        if not same or not is_accessed_spte(new):
            kvm_set_pfn_accessed(kvm, spte_to_pfn(old))


@kernel
def kvm_tdp_mmu_write_spte(sptep: Ptr[u64], old: u64, new: u64, level: u64) -> u64:
    """Under ``mmu_lock`` held for writing: write an entry seen as ``old``; what it was."""
    if XCHG_VOLATILE and is_leaf(old, level) and spte_needs_atomic_update(old):
        return xchg(sptep.value, new)
    WRITE_ONCE(sptep.value, new)
    return old


@kernel
def tdp_mmu_clear_spte_bits(sptep: Ptr[u64], old: u64, mask: u64, level: u64) -> u64:
    """Under ``mmu_lock`` held for writing: clear bits of an entry seen as ``old``; what it
    was."""
    if XCHG_VOLATILE and is_leaf(old, level) and spte_needs_atomic_update(old):
        return atomic_fetch_and(sptep.value, ~mask)
    WRITE_ONCE(sptep.value, old & ~mask)
    return old


@kernel
def freeze_removed_spte(sptep: Ptr[u64], level: u64, shared: u64) -> u64:
    """Freeze an entry of a table that was unlinked; what it was."""
    if not shared:
        old = READ_ONCE(sptep.value)
        if is_shadow_present_pte(old):
            return kvm_tdp_mmu_write_spte(sptep, old, FROZEN_SPTE, level)
        return old
    while True:
        old = xchg(sptep.value, FROZEN_SPTE)
        if not is_frozen_spte(old):
            return old
        cpu_relax()


@kernel
def handle_removed_pt(kvm: Ptr[Kvm], pt: Ptr[u64], shared: u64) -> None:
    """Take down the table ``pt``, which was just unlinked, and all below it."""
    dead = spt_sp(pt)
    dead.next_dead = NULL
    while dead != NULL:
        sp = dead
        dead = sp.next_dead
        level = sp.level
        tdp_unaccount_mmu_page(kvm)
        for i in range(SPTE_ENT_PER_PAGE):
            old = freeze_removed_spte(sp_spt(sp) + i, level, shared)
            leaf_changed(kvm, old, FROZEN_SPTE, level)
            handle_changed_spte_acc_track(kvm, old, FROZEN_SPTE, level)
            if is_shadow_present_pte(old) and not is_leaf(old, level):
                child = spt_sp(spte_to_child_pt(old))
                child.next_dead = dead
                dead = child
        tdp_mmu_free_sp_after_readers(sp)


@kernel
def __handle_changed_spte(kvm: Ptr[Kvm], old: u64, new: u64, level: u64, shared: u64) -> None:
    """What follows from an entry's change, as aging changes it."""
    leaf_changed(kvm, old, new, level)
    if not is_shadow_present_pte(old) or level == PG_LEVEL_4K or is_large_pte(old):
        return
    if is_leaf(new, level) or not is_shadow_present_pte(new):
        handle_removed_pt(kvm, spte_to_child_pt(old), shared)


@kernel
def handle_changed_spte(kvm: Ptr[Kvm], old: u64, new: u64, level: u64, shared: u64) -> None:
    """What follows from an entry's change."""
    __handle_changed_spte(kvm, old, new, level, shared)
    handle_changed_spte_acc_track(kvm, old, new, level)


@kernel
def __tdp_mmu_set_spte_atomic(sptep: Ptr[u64], old: u64, new: u64) -> tuple[bool, u64]:
    """Change an entry seen as ``old``, which is not frozen, if it is still that.

    Returns
    -------
    whether it was, and what is there instead
    """
    ok, seen = try_cmpxchg(sptep.value, old, new)
    return ok, seen


@kernel
def tdp_mmu_set_spte_atomic(
    kvm: Ptr[Kvm], sptep: Ptr[u64], old: u64, new: u64, level: u64
) -> bool:
    """Under ``mmu_lock`` held for reading: change an entry if it is still ``old``."""
    ok, _seen = __tdp_mmu_set_spte_atomic(sptep, old, new)
    if ok:
        handle_changed_spte(kvm, old, new, level, 1)
    return ok


@kernel
def tdp_mmu_set_spte(kvm: Ptr[Kvm], sptep: Ptr[u64], old: u64, new: u64, level: u64) -> None:
    """Under ``mmu_lock`` held for writing: change an entry seen as ``old``."""
    was = kvm_tdp_mmu_write_spte(sptep, old, new, level)
    handle_changed_spte(kvm, was, new, level, 0)


@kernel
def tdp_mmu_link_sp(
    kvm: Ptr[Kvm], sptep: Ptr[u64], old: u64, new: u64, level: u64, shared: u64
) -> bool:
    """Put the table that ``new`` points to in the place of ``old``; whether it was done."""
    if shared:
        return tdp_mmu_set_spte_atomic(kvm, sptep, old, new, level)
    tdp_mmu_set_spte(kvm, sptep, old, new, level)
    return True
