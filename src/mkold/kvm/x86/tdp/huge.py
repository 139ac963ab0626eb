"""Large leaves: split into a table of smaller ones, and recovered from one.

Rules
-----
* To split, a table is filled from a snapshot of the leaf (accessed, dirty, writable, tracked
  form and all) and linked in if the leaf is still that; nothing is flushed, since what the TLB
  has stays true.
* To recover, the table's entry becomes a leaf with what the table's first present leaf says,
  and the table is taken down; TLBs are flushed at
  the end, still in the read section: the hardware walks under no other, so no table may be
  free before. Up to 6.12 the table is zapped, and the next fault makes the leaf.

Source: arch/x86/kvm/mmu/tdp_mmu.c (``tdp_mmu_split_huge_page``, ``recover_huge_pages_range``,
``zap_collapsible_spte_range``), spte.c (``make_small_spte``, ``make_huge_spte``), Linux 6.18.
"""

from __future__ import annotations

from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, sp_spt
from mkold.kvm.x86.mmu.flush import kvm_flush_remote_tlbs_unlocked
from mkold.kvm.x86.mmu.memslot import kvm_mmu_max_mapping_level
from mkold.kvm.x86.mmu.spte import (
    KVM_PAGES_PER_HPAGE,
    LINUX_VERSION,
    PG_LEVEL_1G,
    PG_LEVEL_2M,
    PG_LEVEL_4K,
    PT_PAGE_SIZE_MASK,
    ROOT_LEVEL,
    SPTE_BASE_SHIFT,
    SPTE_ENT_PER_PAGE,
    is_large_pte,
    is_shadow_present_pte,
    make_nonleaf_spte,
    spte_to_child_pt,
)
from mkold.kvm.x86.tdp.change import (
    kvm_update_page_stats,
    tdp_mmu_link_sp,
    tdp_mmu_set_spte_atomic,
)
from mkold.kvm.x86.tdp.iter import (
    SHARED,
    gfn_behind,
    is_leaf,
    tdp_mmu_iter_cond_resched,
    tdp_walk,
)
from mkold.kvm.x86.tdp.pages import (
    tdp_account_mmu_page,
    tdp_mmu_alloc_sp,
    tdp_mmu_free_sp,
)
from mkold.kvm.x86.tdp.roots import tdp_mmu_next_root
from mkold.kvm.x86.tdp.zap import tdp_mmu_zap_spte_atomic
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    cast,
    kernel,
    parameter,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)

# 0 flushes behind the read section: a seeded fault.
FLUSH_BEFORE_FREE = parameter("FLUSH_BEFORE_FREE", 1)


@kernel
def make_small_spte(huge: u64, level: u64, index: u64) -> u64:
    """Leaf ``index`` of ``level`` of those that take the place of ``huge``."""
    small = huge + ((index * KVM_PAGES_PER_HPAGE(level)) << SPTE_BASE_SHIFT)
    if level == PG_LEVEL_4K:
        small &= ~PT_PAGE_SIZE_MASK
    return small


@kernel
def make_huge_spte(small: u64, level: u64) -> u64:
    """The leaf of ``level`` that takes the place of ``small`` and all beside it."""
    return (small & ~((KVM_PAGES_PER_HPAGE(level) - 1) << SPTE_BASE_SHIFT)) | PT_PAGE_SIZE_MASK


@kernel
def tdp_mmu_split_huge_page(
    kvm: Ptr[Kvm], sptep: Ptr[u64], huge: u64, level: u64, sp: Ptr[KvmMmuPage], shared: u64
) -> bool:
    """Put the new table ``sp`` in the place of the leaf ``huge`` of ``level``; whether it was
    still there."""
    spt = sp_spt(sp)
    for i in range(SPTE_ENT_PER_PAGE):
        spt[i] = make_small_spte(huge, level - 1, i)
    if not tdp_mmu_link_sp(kvm, sptep, huge, make_nonleaf_spte(sp), level, shared):
        return False
    tdp_account_mmu_page(kvm)
    kvm_update_page_stats(kvm, level - 1, SPTE_ENT_PER_PAGE)
    return True


@kernel
def split_huge_pages_of_root(
    kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], start: u64, end: u64, target: u64, shared: u64,
    waits: Ptr[u64],
) -> bool:  # fmt: skip
    """Split every leaf above ``target`` that maps a page of ``[start, end)``; False: there was
    no memory."""
    gfn = start
    n: u64 = 0
    while gfn < end:
        if tdp_mmu_iter_cond_resched(kvm, n, 0, shared, waits):
            n = 0
        n += 1
        sptep, spte, level = tdp_walk(sp_spt(root), gfn, target)
        if level > target and is_leaf(spte, level):
            sp = tdp_mmu_alloc_sp(kvm, level - 1, gfn)
            if sp == NULL:
                return False
            if not tdp_mmu_split_huge_page(kvm, sptep, spte, level, sp, shared):
                tdp_mmu_free_sp(cast(u64, sp))
        else:
            gfn = gfn_behind(gfn, level)
    return True


@kernel
def kvm_tdp_mmu_try_split_huge_pages(
    kvm: Ptr[Kvm], start: u64, end: u64, target: u64, shared: u64, waits: Ptr[u64]
) -> bool:
    """Split large leaves of the valid roots down to ``target``; ``mmu_lock`` is held."""
    done: u64 = 1
    root = tdp_mmu_next_root(kvm, cast(Ptr[KvmMmuPage], NULL), 1)
    while root != NULL:
        rcu_read_lock()
        done &= split_huge_pages_of_root(kvm, root, start, end, target, shared, waits)
        rcu_read_unlock()
        root = tdp_mmu_next_root(kvm, root, 1)
    return done != 0


@kernel
def tdp_mmu_make_huge_spte(pt: Ptr[u64], child_level: u64, level: u64) -> u64:
    """What a leaf of ``level`` in the place of table ``pt`` is to be: as the first leaf present
    below it; 0 if there is none."""
    for i in range(SPTE_ENT_PER_PAGE):
        spte = READ_ONCE(pt[i])
        if is_leaf(spte, child_level):
            return make_huge_spte(spte, level)
        if is_shadow_present_pte(spte):
            below = spte_to_child_pt(spte)
            for j in range(SPTE_ENT_PER_PAGE):
                spte = READ_ONCE(below[j])
                if is_leaf(spte, child_level - 1):
                    return make_huge_spte(spte, level)
    return 0


@kernel
def collapse_table(kvm: Ptr[Kvm], sptep: Ptr[u64], spte: u64, gfn: u64, level: u64) -> bool:
    """The table for ``gfn`` that ``spte`` of ``level`` points to gives way to a leaf, or up to
    6.12 to nothing; whether it did."""
    if LINUX_VERSION < 613:
        return tdp_mmu_zap_spte_atomic(kvm, sptep, spte, gfn, level)
    huge = tdp_mmu_make_huge_spte(spte_to_child_pt(spte), level - 1, level)
    return huge != 0 and tdp_mmu_set_spte_atomic(kvm, sptep, spte, huge, level)


@kernel
def recover_huge_page(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], spt: Ptr[u64], gfn: u64, top: u64
) -> tuple[u64, u64]:
    """Make the table for ``gfn`` at the highest level up to ``top`` a leaf (up to 6.12:
    nothing), where the host's memory allows that.

    Returns
    -------
    1 if it was done, and the level of the entry that was met
    """
    level = top
    while level >= PG_LEVEL_2M:
        sptep, spte, met = tdp_walk(spt, gfn, level)
        if met > level or not is_shadow_present_pte(spte) or is_large_pte(spte):
            return 0, met
        allowed = kvm_mmu_max_mapping_level(kvm, slot, gfn) >= level
        if allowed and collapse_table(kvm, sptep, spte, gfn, level):
            return 1, level
        level -= 1
    return 0, PG_LEVEL_2M


@kernel
def recover_huge_pages_range(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], root: Ptr[KvmMmuPage], waits: Ptr[u64]
) -> u64:
    """Of one root; whether TLBs have to be flushed."""
    gfn = slot.base_gfn
    end = gfn + slot.npages
    flush: u64 = 0
    n: u64 = 0
    while gfn < end:
        if tdp_mmu_iter_cond_resched(kvm, n, flush, SHARED, waits):
            n = 0
            flush = 0
        n += 1
        done, level = recover_huge_page(
            kvm, slot, sp_spt(root), gfn, min(PG_LEVEL_1G, ROOT_LEVEL)
        )
        flush |= done
        gfn = gfn_behind(gfn, level)
    return flush


@kernel
def kvm_tdp_mmu_recover_huge_pages(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], waits: Ptr[u64]
) -> None:
    """Where the host's memory allows it, map the slot by large leaves again; ``mmu_lock`` is
    held for reading."""
    root = tdp_mmu_next_root(kvm, cast(Ptr[KvmMmuPage], NULL), 1)
    while root != NULL:
        rcu_read_lock()
        flush = recover_huge_pages_range(kvm, slot, root, waits)
        if flush and FLUSH_BEFORE_FREE:
            kvm_flush_remote_tlbs_unlocked(kvm)
        rcu_read_unlock()
        if flush and not FLUSH_BEFORE_FREE:
            kvm_flush_remote_tlbs_unlocked(kvm)
        root = tdp_mmu_next_root(kvm, root, 1)
