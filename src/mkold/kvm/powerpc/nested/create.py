"""Putting a shadow entry in, and its place in the reverse map: the last of a fault's steps.

Rules
-----
* One section under ``mmu_lock``: nothing was invalidated since the fault began; the guest is
  still known by its number, by which the reverse map will find it; L1's entry still stands
  as it was when it was copied, or has gained bits. Then the leaf is set, and then the entry of
  the reverse map, at the first page of L1's leaf.
* A leaf that is there already for the same frame gains bits, and has its entry.
* Tables and the node are allocated without the lock, as ``radix.create`` does.

``SHADOW_RECHECK`` 0 is Linux, which does not look at L1's entry again: aging that came in
between has cleared R of L1's entry, and the shadow entry gets it all the same.

Source: arch/powerpc/kvm/book3s_64_mmu_radix.c (``kvmppc_create_pte``).
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_book3s_64 import NESTED_LOCKLESS
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest, RmapNested, ShadowFault
from mkold.kvm.powerpc.nested.guest import NODES, kvmhv_find_nested
from mkold.kvm.powerpc.nested.rmap import kvmhv_insert_nest_rmap, nest_rmap
from mkold.kvm.powerpc.nested.spread import nest_rmapp
from mkold.kvm.powerpc.radix.create import (
    CHECK_RETRY,
    CREATED,
    EAGAIN,
    ENOMEM,
    NEED_TABLE,
    map_leaf,
)
from mkold.kvm.powerpc.radix.pte import _PAGE_ACCESSED, _PAGE_DIRTY, level_pages
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.radix.tables import alloc_table, free_table_now
from mkold.kvm.powerpc.radix.walk import radix_walk
from mkold.kvm.retry import mmu_invalidate_retry
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    parameter,
    smp_wmb,
    u64,
)
from mkold.mm.slab import kmem_cache_alloc, kmem_cache_free

SHADOW_RECHECK = parameter("SHADOW_RECHECK", 1)
# 0: with aging that takes no lock, L1's entry is not given R again. A seeded fault.
SET_AGAIN = parameter("SET_AGAIN", 1)


@kernel
def copied_entry_stands(kvm: Ptr[Kvm], fault: Ptr[ShadowFault]) -> u64:
    """Under ``mmu_lock``: whether L1's leaf is what it was, or that and more bits."""
    _ptep, entry, level = radix_walk(READ_ONCE(kvm.arch.pgtable), fault.gfn)
    return level == fault.l1_level and (entry & fault.l1_pte) == fault.l1_pte


@kernel
def shadow_fault_is_stale(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], fault: Ptr[ShadowFault]
) -> u64:
    """Under ``mmu_lock``: whether the fault has to begin again."""
    if not READ_ONCE(kvm.arch.radix) or kvmhv_find_nested(kvm, gp.l1_lpid) != gp:
        return 1
    if CHECK_RETRY and mmu_invalidate_retry(kvm, fault.mmu_seq, fault.hva, fault.hva + 1):
        return 1
    return SHADOW_RECHECK and not copied_entry_stands(kvm, fault)


@kernel
def set_l1_rc(kvm: Ptr[Kvm], fault: Ptr[ShadowFault]) -> None:
    """Under ``mmu_lock``, when the shadow entry can be found: what R and C it has, L1's entry
    gets. Aging without the lock may have cleared R since it was copied."""
    smp_wmb()  # pairs with pte_xchg() in kvmhv_age_page(): the shadow entry, then L1's
    ptep, _entry, _level = radix_walk(READ_ONCE(kvm.arch.pgtable), fault.gfn)
    kvmppc_radix_update_pte(ptep, 0, fault.pte & (_PAGE_ACCESSED | _PAGE_DIRTY))


@kernel
def try_create_shadow(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], fault: Ptr[ShadowFault], node: Ptr[RmapNested],
    waits: Ptr[u64],
) -> tuple[u64, u64]:  # fmt: skip
    """One attempt under the lock: CREATED, EAGAIN, ``NEED_TABLE | level``; and 1 if the
    reverse map took the node."""
    kvm_mmu_lock(kvm, waits)
    if shadow_fault_is_stale(kvm, gp, fault):
        kvm_mmu_unlock(kvm)
        return EAGAIN, 0
    took = 0
    result, left = map_leaf(
        kvm, gp, fault.n_gfn, fault.pte, fault.level, fault.spare, fault.spare_level
    )
    fault.spare = left
    if result == CREATED:
        first = fault.gfn & ~(level_pages(fault.l1_level) - 1)
        n_first = fault.n_gfn & ~(level_pages(fault.level) - 1)
        entry = nest_rmap(gp.l1_lpid, n_first)
        took = kvmhv_insert_nest_rmap(nest_rmapp(kvm, first), entry, node)
        if NESTED_LOCKLESS and SET_AGAIN:
            set_l1_rc(kvm, fault)
    kvm_mmu_unlock(kvm)
    return result, took


@kernel
def create_with_node(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], fault: Ptr[ShadowFault], node: Ptr[RmapNested],
    waits: Ptr[u64],
) -> tuple[u64, u64]:  # fmt: skip
    """Attempts until no table is missing; as ``try_create_shadow``, or ENOMEM."""
    fault.spare = NULL
    fault.spare_level = 0
    while True:
        result, took = try_create_shadow(kvm, gp, fault, node, waits)
        if fault.spare != NULL:
            free_table_now(fault.spare)
            fault.spare = NULL
        if not result & NEED_TABLE:
            return result, took
        fault.spare_level = result & 3
        fault.spare = alloc_table(kvm, fault.spare_level)
        if fault.spare == NULL:
            return ENOMEM, 0


@kernel
def kvmhv_create_shadow_pte(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], fault: Ptr[ShadowFault], waits: Ptr[u64]
) -> u64:
    """Map what ``fault`` says; CREATED, EAGAIN or ENOMEM.

    Ordering
    --------
    The caller holds ``tlb_lock`` and is outside guest mode. Takes ``mmu_lock``.
    """
    cache = addr(kvm.arch.nested_caches[NODES])
    node = cast(Ptr[RmapNested], kmem_cache_alloc(cache))
    if node == NULL:
        return ENOMEM
    node.cache = cache
    result, took = create_with_node(kvm, gp, fault, node, waits)
    if not took:
        kmem_cache_free(cache, cast(u64, node))
    return result
