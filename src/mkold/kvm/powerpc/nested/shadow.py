"""The shadow tree of an L2 guest: an entry looked up, taken away; all of it taken away.

Rules
-----
* Changes are under ``mmu_lock``; a look is, or is in an RCU read section.
* Taking away is clear, then flush, then (tables) free, as in L1's own tree. What R and C
  said is not asked: L1's entry has them (``fault`` sets both).
* Whether an entry still maps the page that somebody came from is told by its frame.

Source: arch/powerpc/kvm/book3s_hv_nested.c (``find_kvm_nested_guest_pte``,
``kvmhv_invalidate_shadow_pte``, ``kvmhv_flush_nested``).
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest
from mkold.kvm.powerpc.nested.guest import FREE_BY_RCU, NESTED_FREE
from mkold.kvm.powerpc.radix.pte import (
    entry_table,
    level_pages,
    pte_leaf,
    pte_pfn,
    pte_present,
    ptrs_per_table,
)
from mkold.kvm.powerpc.radix.tables import free_pud_tables
from mkold.kvm.powerpc.radix.unmap import kvmhv_unmap_shadow_pte
from mkold.kvm.powerpc.radix.walk import radix_walk
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, call_rcu, cast, kernel, u64


@kernel
def find_kvm_nested_guest_pte(gp: Ptr[KvmNestedGuest], n_gfn: u64) -> tuple[Ptr[u64], u64, u64]:
    """Where the walk for ``n_gfn`` ends: the entry, its value, its level."""
    ptep, entry, level = radix_walk(gp.shadow_pgtable, n_gfn)
    return ptep, entry, level


@kernel
def maps_frames(pte: u64, pfn: u64, npages: u64) -> u64:
    """Whether the leaf ``pte`` begins within the ``npages`` frames from ``pfn`` on."""
    return pte_leaf(pte) and pte_pfn(pte) - pfn < npages


@kernel
def kvmhv_invalidate_shadow_pte(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], n_gfn: u64) -> u64:
    """Take away the leaf that maps ``n_gfn``, if there is one; the first page behind what
    the walk's end covers."""
    ptep, entry, level = find_kvm_nested_guest_pte(gp, n_gfn)
    if pte_leaf(entry):
        kvmhv_unmap_shadow_pte(kvm, ptep, n_gfn, level)
    return (n_gfn | (level_pages(level) - 1)) + 1


@kernel
def free_shadow_tables(word: u64) -> None:
    """Free a PUD table and what is below; nobody is in it. A callback's argument is a word."""
    free_pud_tables(cast(Ptr[u64], word))


@kernel
def kvmhv_free_shadow(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest]) -> None:
    """Take all of the tree away but its root."""
    pgd = gp.shadow_pgtable
    for i in range(ptrs_per_table(3)):
        entry = READ_ONCE(pgd[i])
        if pte_present(entry):
            WRITE_ONCE(pgd[i], 0)
            kvm_flush_remote_tlbs(kvm)  # also the page-walk caches
            if NESTED_FREE == FREE_BY_RCU:
                call_rcu(free_shadow_tables, entry_table(entry))
            else:
                free_pud_tables(entry_table(entry))
