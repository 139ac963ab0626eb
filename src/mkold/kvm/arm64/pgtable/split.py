"""A table in the place of a block, with the same frames: eager splitting, for the dirty log.

Rules
-----
* ``mmu_lock`` is held for writing. The table is filled before it is linked; the block is broken
  before the table is made.
* The new leaves are young, also if the block was old.
* Tables come from ``split_page_cache``, which is filled with no lock held; a block is left as
  it is when that is empty.

Source: arch/arm64/kvm/hyp/pgtable.c (``stage2_split_walker``). Known limits: one level at a
time; the walk then goes down and splits the smaller blocks.
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm, WalkData
from mkold.kvm.arm64.pgtable.geometry import (
    KVM_PGTABLE_LAST_LEVEL,
    STAGE2_TABLE_SHIFT,
    kvm_granule_pages,
)
from mkold.kvm.arm64.pgtable.pte import (
    KVM_PTE_LEAF_ATTR_S2_PERMS,
    MEMATTR_NORMAL,
    S2_AF,
    S2_SH_IS,
    kvm_init_table_pte,
    kvm_init_valid_leaf_pte,
    kvm_pte_to_pfn,
    kvm_pte_valid,
)
from mkold.kvm.arm64.pgtable.tables import get_page, put_page, stage2_memcache_zalloc_page
from mkold.kvm.arm64.pgtable.update import stage2_make_pte, stage2_try_break_pte
from mkold.kvm.arm64.pgtable.walk import (
    EAGAIN,
    ENOMEM,
    KVM_PGTABLE_WALK_LEAF,
    kvm_pgtable_walk,
)
from mkold.lang import NULL, Ptr, addr, kernel, u64


@kernel
def kvm_pgtable_stage2_create_unlinked(table: Ptr[u64], block: u64, level: u64) -> None:
    """Fill an empty table at ``level`` with what the leaf ``block``, one level up, maps."""
    attr = block & (KVM_PTE_LEAF_ATTR_S2_PERMS | MEMATTR_NORMAL | S2_SH_IS)
    for i in range(1 << STAGE2_TABLE_SHIFT):
        pfn = kvm_pte_to_pfn(block) + i * kvm_granule_pages(level)
        table[i] = kvm_init_valid_leaf_pte(pfn, attr | S2_AF, level)
        get_page(table)


@kernel
def stage2_split_walker(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64, flags: u64,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """The visitor of splitting."""
    if level == KVM_PGTABLE_LAST_LEVEL or not kvm_pte_valid(old):
        return 0
    table = stage2_memcache_zalloc_page(addr(kvm.arch.mmu.split_page_cache))
    if table == NULL:
        return ENOMEM
    kvm_pgtable_stage2_create_unlinked(table, old, level + 1)
    if not stage2_try_break_pte(kvm, ptep, old, gfn, level, flags):
        for _ in range(1 << STAGE2_TABLE_SHIFT):
            put_page(table)
        put_page(table)
        return EAGAIN
    stage2_make_pte(ptep, kvm_init_table_pte(table), gfn, level)
    kvm.stat.huge_split += 1
    return 0


@kernel
def kvm_pgtable_stage2_split(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Under ``mmu_lock`` for writing: no block maps a page of ``[gfn, end)``; ENOMEM if tables
    ran out on the way."""
    data = addr(kvm.arch.mmu.walk)
    flags = KVM_PGTABLE_WALK_LEAF
    return kvm_pgtable_walk(kvm, gfn, end, flags, stage2_split_walker, data)
