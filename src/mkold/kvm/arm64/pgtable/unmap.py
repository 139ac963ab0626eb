"""Taking away: the leaves of a range, and a whole tree.

Rules
-----
* Unmapping holds ``mmu_lock`` for writing: entries are cleared by plain stores, then flushed. A
  block goes as a whole, though only a part of it was asked for.
* A table that has become empty is unlinked, flushed, freed: at once where walkers hold
  ``mmu_lock`` or come from the hardware, whose walks the flush waits for; after a grace period
  where an ager may be in it with RCU alone (``tables.UNMAP_FREE``).
* A tree is taken down when nobody can be in it; entries are not written any more.

Source: arch/arm64/kvm/hyp/pgtable.c (``stage2_unmap_walker``, ``kvm_pgtable_stage2_destroy``).
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm, WalkData
from mkold.kvm.arm64.pgtable.geometry import (
    GFN_BITS,
    kvm_granule_pages,
    stage2_start_level,
)
from mkold.kvm.arm64.pgtable.pte import (
    kvm_pte_follow,
    kvm_pte_table,
    kvm_pte_valid,
    stage2_pte_is_counted,
)
from mkold.kvm.arm64.pgtable.tables import (
    free_pgd,
    page_count,
    put_page,
    put_unmapped_table,
    table_of,
)
from mkold.kvm.arm64.pgtable.tlb import __kvm_tlb_flush_vmid_ipa, kvm_tlb_flush_vmid_range
from mkold.kvm.arm64.pgtable.walk import (
    KVM_PGTABLE_WALK_LEAF,
    KVM_PGTABLE_WALK_TABLE_POST,
    kvm_pgtable_walk,
    walk_level,
)
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    kernel,
    parameter,
    synchronize_rcu,
    u64,
)

# 1, as before commit f62d4c3eb687: the flush of a table waits until the whole range is done.
DEFER_TABLE_TLBI = parameter("DEFER_TABLE_TLBI", 0)
# 1: destroying waits for agers that hold nothing but a read section.
DESTROY_WAITS = parameter("DESTROY_WAITS", 0)
# Destroying in steps of so many pages; 0: at once.
DESTROY_STEP = parameter("DESTROY_STEP", 0)
# 1, as in commit e9abe311f356: a step frees tables that the next one needs.
DESTROY_PUTS_TABLES = parameter("DESTROY_PUTS_TABLES", 0)


@kernel
def stage2_unmap_put_pte(kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64) -> None:
    """Clear an entry, flush what it was, give its reference back."""
    WRITE_ONCE(ptep.value, 0)
    if kvm_pte_table(old, level):
        if not DEFER_TABLE_TLBI:
            pages = kvm_granule_pages(level)
            kvm_tlb_flush_vmid_range(kvm, gfn & ~(pages - 1), pages)
    elif kvm_pte_valid(old):
        __kvm_tlb_flush_vmid_ipa(kvm, gfn, level)
    put_page(table_of(ptep, gfn, level))


@kernel
def stage2_unmap_walker(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64, flags: u64,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """The visitor of unmapping: leaves, and after its children a table that is empty."""
    if not stage2_pte_is_counted(old):
        return 0
    if not kvm_pte_table(old, level):
        kvm.stat.unmapped += kvm_pte_valid(old)
        stage2_unmap_put_pte(kvm, ptep, old, level, gfn)
        return 0
    table = kvm_pte_follow(old)
    if page_count(table) == 1:
        stage2_unmap_put_pte(kvm, ptep, old, level, gfn)
        put_unmapped_table(kvm, table)
    return 0


@kernel
def kvm_pgtable_stage2_unmap(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Under ``mmu_lock`` for writing: nothing of ``[gfn, end)`` is mapped, nor in a TLB."""
    flags = KVM_PGTABLE_WALK_LEAF | KVM_PGTABLE_WALK_TABLE_POST
    data = addr(kvm.arch.mmu.walk)
    ret = kvm_pgtable_walk(kvm, gfn, end, flags, stage2_unmap_walker, data)
    if DEFER_TABLE_TLBI:
        kvm_tlb_flush_vmid_range(kvm, gfn, end - gfn)
    return ret


@kernel
def stage2_free_walker(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64, flags: u64,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """Give back the references of an entry that is not 0: its own, and to what is below."""
    if not stage2_pte_is_counted(old):
        return 0
    put_page(table_of(ptep, gfn, level))
    if kvm_pte_table(old, level):
        put_page(kvm_pte_follow(old))
    return 0


@kernel
def destroy_walker(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64, flags: u64,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """The visitor of a step: a table goes when it is empty, and no entry is seen twice."""
    if kvm_pte_table(old, level) and page_count(kvm_pte_follow(old)) != 1:
        return 0
    WRITE_ONCE(ptep.value, 0)
    return stage2_free_walker(kvm, ptep, old, level, gfn, flags, data)


@kernel
def destroy_range(kvm: Ptr[Kvm], pgd: Ptr[u64], gfn: u64, end: u64) -> None:
    """Take down pages ``[gfn, end)`` of a tree that nobody can be in."""
    flags = KVM_PGTABLE_WALK_LEAF | KVM_PGTABLE_WALK_TABLE_POST
    data = addr(kvm.arch.mmu.walk)
    level = stage2_start_level()
    if DESTROY_PUTS_TABLES or not DESTROY_STEP:
        walk_level(kvm, pgd, level, gfn, end, flags, stage2_free_walker, data)
    else:
        walk_level(kvm, pgd, level, gfn, end, flags, destroy_walker, data)


@kernel
def kvm_pgtable_stage2_destroy(kvm: Ptr[Kvm]) -> None:
    """Free the tree; no vCPU runs, no notifier comes, no ager is at it."""
    pgd = READ_ONCE(kvm.arch.mmu.pgd)
    if pgd == NULL:
        return
    WRITE_ONCE(kvm.arch.mmu.pgd, NULL)
    if DESTROY_WAITS:
        synchronize_rcu()
    end = 1 << GFN_BITS
    gfn: u64 = 0
    while gfn < end:
        after: u64 = end
        if DESTROY_STEP:
            after = min(gfn + DESTROY_STEP, end)
        destroy_range(kvm, pgd, gfn, after)
        gfn = after
    free_pgd(pgd)
