"""The books of stage 2 looked through, on a stopped VM.

Rules
-----
1. A table's count is one and one more for each entry that is not 0.
2. No entry is locked, and no table entry stands where there can be none.
3. Leaves are where blocks may be, readable, and aligned to their size.
4. Each table that was handed out is in the tree, in a store, or waits for a grace period.
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm, Vcpu, WalkData
from mkold.kvm.arm64.pgtable.geometry import (
    GFN_BITS,
    KVM_PGTABLE_MIN_BLOCK_LEVEL,
    kvm_granule_pages,
    ptrs_per_table,
    stage2_start_level,
)
from mkold.kvm.arm64.pgtable.pte import (
    S2AP_R,
    kvm_pte_follow,
    kvm_pte_table,
    kvm_pte_to_pfn,
    kvm_pte_valid,
)
from mkold.kvm.arm64.pgtable.tables import page_count
from mkold.kvm.arm64.pgtable.walk import (
    KVM_PGTABLE_WALK_LEAF,
    KVM_PGTABLE_WALK_TABLE_PRE,
    kvm_pgtable_walk,
)
from mkold.lang import NULL, READ_ONCE, Ptr, addr, cast, kernel, u64
from mkold.mm.slab import kmem_cache_nr_free

MISCOUNTED = 1
MISPLACED = 2
MISMAPPED = 3
LEAKED = 4


@kernel
def counted(table: Ptr[u64], level: u64) -> u64:
    """Whether the count of a table at ``level`` is right."""
    n: u64 = 1
    for i in range(ptrs_per_table(level)):
        n += READ_ONCE(table[i]) != 0
    return page_count(table) == n


@kernel
def audit_walker(
    kvm: Ptr[Kvm], ptep: Ptr[u64], old: u64, level: u64, gfn: u64, flags: u64,
    data: Ptr[WalkData],
) -> u64:  # fmt: skip
    """Look at one entry; tables are counted in ``data.done``."""
    if kvm_pte_table(old, level):
        data.done += 1
        return 0 if counted(kvm_pte_follow(old), level + 1) else MISCOUNTED
    if old == 0:
        return 0
    if not kvm_pte_valid(old):
        return MISPLACED
    if level < KVM_PGTABLE_MIN_BLOCK_LEVEL or not old & S2AP_R:
        return MISMAPPED
    if kvm_pte_to_pfn(old) & (kvm_granule_pages(level) - 1):
        return MISMAPPED
    return 0


@kernel
def tables_in_stores(kvm: Ptr[Kvm]) -> u64:
    """Tables that nobody has linked yet."""
    n: u64 = kvm.arch.mmu.split_page_cache.nobjs
    for i in range(kvm.n_vcpus):
        n += cast(Ptr[Vcpu], kvm.vcpus[i]).arch.mmu_page_cache.nobjs
    return n


@kernel
def stage2_audit(kvm: Ptr[Kvm]) -> u64:
    """The first rule that is broken, or 0."""
    pgd = READ_ONCE(kvm.arch.mmu.pgd)
    if pgd == NULL:
        return 0
    if not counted(pgd, stage2_start_level()):
        return MISCOUNTED
    data = addr(kvm.arch.mmu.walk)
    data.done = 0
    flags = KVM_PGTABLE_WALK_LEAF | KVM_PGTABLE_WALK_TABLE_PRE
    wrong = kvm_pgtable_walk(kvm, 0, 1 << GFN_BITS, flags, audit_walker, data)
    if wrong:
        return wrong
    known = data.done + tables_in_stores(kvm)
    cache = addr(kvm.arch.page_cache)
    out = cache.nr_objects - kmem_cache_nr_free(cache)
    deferred = READ_ONCE(kvm.arch.mmu.nr_deferred)
    if out < known + deferred or (deferred == 0 and out != known):
        return LEAKED
    return 0
