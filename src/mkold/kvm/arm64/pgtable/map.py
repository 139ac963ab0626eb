"""Mapping a range of pages, and all that may stand there.

==============================  ==========================================================
what is there                   what happens
==============================  ==========================================================
nothing, or a leaf for another  broken, then the leaf is made
the same but for permissions    nothing: EAGAIN, the next fault relaxes permissions
a block, and a smaller leaf is  broken, an empty table is made; the block's other pages fault
wanted                          anew
a table where a block goes      broken (and all of it flushed), the block is made, the table
                                is freed with all below, after a grace period
a locked entry                  EAGAIN
==============================  ==========================================================

Source: arch/arm64/kvm/hyp/pgtable.c (``kvm_pgtable_stage2_map``, ``stage2_map_walker``).
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm, KvmMmuMemoryCache, WalkData
from mkold.kvm.arm64.pgtable.free import stage2_free_unlinked_table
from mkold.kvm.arm64.pgtable.geometry import (
    KVM_PGTABLE_LAST_LEVEL,
    KVM_PGTABLE_MIN_BLOCK_LEVEL,
    kvm_granule_pages,
)
from mkold.kvm.arm64.pgtable.pte import (
    KVM_PTE_LEAF_ATTR_S2_PERMS,
    kvm_init_table_pte,
    kvm_init_valid_leaf_pte,
    kvm_pte_follow,
    kvm_pte_valid,
)
from mkold.kvm.arm64.pgtable.tables import (
    get_page,
    put_page,
    stage2_memcache_zalloc_page,
    table_of,
    zalloc_table,
)
from mkold.kvm.arm64.pgtable.update import stage2_make_pte, stage2_try_break_pte
from mkold.kvm.arm64.pgtable.walk import (
    E2BIG,
    EAGAIN,
    EINVAL,
    ENOMEM,
    KVM_PGTABLE_WALK_LEAF,
    KVM_PGTABLE_WALK_TABLE_PRE,
    kvm_pgtable_walk,
)
from mkold.lang import (
    NULL,
    Ptr,
    cast,
    kernel,
    mutex_lock,
    mutex_unlock,
    parameter,
    u64,
)

# Each as it was before the commit that it names.
COLLAPSE_GETS_TWICE = parameter("COLLAPSE_GETS_TWICE", 0)  # 1: 5c646b7e1d8b
PA_COUNTER = parameter("PA_COUNTER", 0)  # 1: 1f0f4a2ef7a5
ALLOC_IN_WALK = parameter("ALLOC_IN_WALK", 0)  # 1: b7833bf202e3


@kernel
def stage2_map_walker_pfn(gfn: u64, data: Ptr[WalkData]) -> u64:
    """The frame of ``gfn``; by a counter that says how much was mapped, or by where it is."""
    if PA_COUNTER:
        return data.pfn + data.done
    return data.pfn + (gfn - data.gfn)


@kernel
def stage2_leaf_mapping_allowed(level: u64, gfn: u64, data: Ptr[WalkData]) -> u64:
    """Whether a leaf at ``level`` may map ``gfn``: it is in the range, and aligned."""
    if level < KVM_PGTABLE_MIN_BLOCK_LEVEL or (data.force_pte and level < 3):
        return 0
    pages = kvm_granule_pages(level)
    pfn = stage2_map_walker_pfn(gfn, data)
    return gfn + pages <= data.end and ((gfn | pfn) & (pages - 1)) == 0


@kernel
def stage2_pte_needs_update(old: u64, new: u64) -> u64:
    """Whether more than permissions differ."""
    return not kvm_pte_valid(old) or ((old ^ new) & ~KVM_PTE_LEAF_ATTR_S2_PERMS) != 0


@kernel
def stage2_map_walker_try_leaf(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64, flags: u64,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """Make a leaf of the entry, if it may be one: 0, E2BIG if not, EAGAIN."""
    if not stage2_leaf_mapping_allowed(level, gfn, data):
        return E2BIG
    new = kvm_init_valid_leaf_pte(stage2_map_walker_pfn(gfn, data), data.attr, level)
    if not stage2_pte_needs_update(old, new):
        return EAGAIN
    if not stage2_try_break_pte(kvm, ptep, old, gfn, level, flags):
        return EAGAIN
    stage2_make_pte(ptep, new, gfn, level)
    data.done += kvm_granule_pages(level)
    return 0


@kernel
def alloc_in_walk(kvm: Ptr[Kvm]) -> Ptr[u64]:
    """A table from an allocator that may sleep."""
    mutex_lock(kvm.arch.alloc_mutex)
    table = zalloc_table(kvm)
    mutex_unlock(kvm.arch.alloc_mutex)
    return table


@kernel
def walk_zalloc_page(kvm: Ptr[Kvm], mc: Ptr[KvmMmuMemoryCache]) -> Ptr[u64]:
    """A table for the walk, or NULL."""
    if ALLOC_IN_WALK:
        return alloc_in_walk(kvm)
    if mc == NULL:
        return cast(Ptr[u64], NULL)
    return stage2_memcache_zalloc_page(mc)


@kernel
def stage2_map_walk_leaf(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64, flags: u64,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """An entry that is no table: a leaf, or if that can't be here an empty table."""
    ret = stage2_map_walker_try_leaf(kvm, ptep, old, level, gfn, flags, data)
    if ret != E2BIG:
        return ret
    if level == KVM_PGTABLE_LAST_LEVEL:
        return EINVAL
    table = walk_zalloc_page(kvm, data.mc)
    if table == NULL:
        return ENOMEM
    if not stage2_try_break_pte(kvm, ptep, old, gfn, level, flags):
        put_page(table)
        return EAGAIN
    stage2_make_pte(ptep, kvm_init_table_pte(table), gfn, level)
    return 0


@kernel
def stage2_map_walk_table_pre(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64, flags: u64,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """A table: it gives way if a block may be here."""
    ret = stage2_map_walker_try_leaf(kvm, ptep, old, level, gfn, flags, data)
    if ret == E2BIG:
        return 0
    if ret == 0:
        if COLLAPSE_GETS_TWICE:
            get_page(table_of(ptep, gfn, level))
        stage2_free_unlinked_table(kvm, kvm_pte_follow(old), level)
    return ret


@kernel
def stage2_map_walker(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64, flags: u64,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """The visitor of mapping."""
    if flags & KVM_PGTABLE_WALK_TABLE_PRE:
        return stage2_map_walk_table_pre(kvm, ptep, old, level, gfn, flags, data)
    return stage2_map_walk_leaf(kvm, ptep, old, level, gfn, flags, data)


@kernel
def kvm_pgtable_stage2_map(
    kvm: Ptr[Kvm], data: Ptr[WalkData], gfn: u64, pages: u64, pfn: u64, attr: u64,
    mc: Ptr[KvmMmuMemoryCache], flags: u64,
) -> u64:  # fmt: skip
    """Map pages ``[gfn, gfn + pages)`` to the frames from ``pfn`` on, by leaves as large as
    fit.

    Parameters
    ----------
    data : the caller's, for this walk
    attr : ``stage2_set_prot_attr``
    mc : tables that it may take; NULL: none
    flags : SHARED and HANDLE_FAULT for a fault, with ``mmu_lock`` held for reading; 0 with it
        held for writing

    Returns
    -------
    0, EAGAIN (with HANDLE_FAULT), ENOMEM
    """
    data.gfn = gfn
    data.end = gfn + pages
    data.pfn = pfn
    data.attr = attr
    data.mc = mc
    data.force_pte = 0
    data.done = 0
    flags |= KVM_PGTABLE_WALK_TABLE_PRE | KVM_PGTABLE_WALK_LEAF
    return kvm_pgtable_walk(kvm, gfn, gfn + pages, flags, stage2_map_walker, data)
