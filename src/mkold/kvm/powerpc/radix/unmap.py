"""Taking mappings away: one entry, or a table with all below it.

Rules
-----
* Everything here runs under ``mmu_lock``.
* An entry is cleared atomically, then flushed; what R and C said at that instant is kept:
  C goes to the slot's dirty bitmap.
* Where a VM's own entry goes, the shadow entries of its page go (``nested.spread``).
* ``gp`` says whose tree it is: that guest's shadow tree, or with NULL the VM's own.
* A table is unlinked (its upper entry cleared), flushed from the walkers' caches, then
  emptied, then freed.

Source: arch/powerpc/kvm/book3s_64_mmu_radix.c (``kvmppc_unmap_pte``,
``kvmppc_unmap_free_pte/pmd/pud``, ``kvmppc_radix_flush_memslot``).
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_memslot
from mkold.kvm.powerpc.asm.kvm_book3s_64 import kvmhv_remove_nest_rmap_range
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_DIRTY,
    entry_table,
    level_pages,
    pte_leaf,
    pte_pfn,
    pte_present,
    ptrs_per_table,
)
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.radix.tables import free_table
from mkold.kvm.powerpc.radix.walk import radix_walk, walk_boundary
from mkold.kvm.tlb import kvm_flush_remote_tlbs_range
from mkold.kvm.types import MemorySlot
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, atomic_or, kernel, u64


@kernel
def kvmppc_update_dirty_map(kvm: Ptr[Kvm], gfn: u64, npages: u64) -> None:
    """Guest pages ``[gfn, gfn + npages)`` were written."""
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return
    bitmap = READ_ONCE(slot.dirty_bitmap)
    if bitmap == NULL:
        return
    first = gfn - slot.base_gfn
    last = min(first + npages, slot.npages)
    for i in range(first, last):
        atomic_or(bitmap[i >> 6], 1 << (i & 63))


@kernel
def kvmhv_unmap_shadow_pte(kvm: Ptr[Kvm], ptep: Ptr[u64], n_gfn: u64, level: u64) -> None:
    """Clear a shadow leaf and flush it."""
    npages = level_pages(level)
    kvmppc_radix_update_pte(ptep, ~0, 0)
    kvm_flush_remote_tlbs_range(kvm, n_gfn & ~(npages - 1), npages)


@kernel
def kvmppc_unmap_pte(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], ptep: Ptr[u64], gfn: u64, level: u64
) -> None:
    """Clear the leaf that maps ``gfn`` and flush it."""
    if gp != NULL:
        kvmhv_unmap_shadow_pte(kvm, ptep, gfn, level)
        return
    npages = level_pages(level)
    first = gfn & ~(npages - 1)
    old = kvmppc_radix_update_pte(ptep, ~0, 0)
    kvm_flush_remote_tlbs_range(kvm, first, npages)
    kvm.stat.unmapped += 1
    if old & _PAGE_DIRTY:
        kvmppc_update_dirty_map(kvm, first, npages)
    kvmhv_remove_nest_rmap_range(kvm, first, pte_pfn(old), npages)


@kernel
def kvmppc_unmap_free_pte(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], table: Ptr[u64], gfn: u64
) -> None:
    """Unmap what an unlinked PTE table from ``gfn`` on still maps, then free it."""
    for i in range(ptrs_per_table(0)):
        if pte_present(READ_ONCE(table[i])):
            kvmppc_unmap_pte(kvm, gp, table + i, gfn + i, 0)
    free_table(kvm, table, 0)


@kernel
def kvmppc_unmap_free_pmd(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], table: Ptr[u64], gfn: u64
) -> None:
    """As ``kvmppc_unmap_free_pte``, for a PMD table."""
    for i in range(ptrs_per_table(1)):
        entry = READ_ONCE(table[i])
        at = gfn + i * level_pages(1)
        if pte_leaf(entry):
            kvmppc_unmap_pte(kvm, gp, table + i, at, 1)
        elif pte_present(entry):
            WRITE_ONCE(table[i], 0)
            kvmppc_unmap_free_pte(kvm, gp, entry_table(entry), at)
    free_table(kvm, table, 1)


@kernel
def kvmppc_unlink_table(
    kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], ptep: Ptr[u64], gfn: u64, level: u64
) -> None:
    """The non-leaf entry ``ptep`` at ``level`` (1 or 2) gives way to a leaf."""
    table = entry_table(READ_ONCE(ptep.value))
    npages = level_pages(level)
    first = gfn & ~(npages - 1)
    WRITE_ONCE(ptep.value, 0)
    kvm_flush_remote_tlbs_range(kvm, first, npages)  # also the page-walk caches
    if level == 1:
        kvmppc_unmap_free_pte(kvm, gp, table, first)
    else:
        kvmppc_unmap_free_pmd(kvm, gp, table, first)


@kernel
def kvm_unmap_radix(kvm: Ptr[Kvm], gfn: u64, end: u64) -> None:
    """Unmap every leaf that maps a page of ``[gfn, end)``; ``mmu_lock`` is held."""
    pgtable = READ_ONCE(kvm.arch.pgtable)
    while gfn < end:
        ptep, entry, level = radix_walk(pgtable, gfn)
        if pte_leaf(entry):
            kvmppc_unmap_pte(kvm, NULL, ptep, gfn, level)
        gfn = walk_boundary(gfn, level)


@kernel
def kvmppc_radix_flush_memslot(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> None:
    """Under ``mmu_lock``: nothing of the slot is mapped, and no fault maps what it has found
    out before."""
    kvm_unmap_radix(kvm, slot.base_gfn, slot.base_gfn + slot.npages)
    WRITE_ONCE(kvm.mmu_invalidate_seq, kvm.mmu_invalidate_seq + 1)
