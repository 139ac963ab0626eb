"""Walks of the partition-scoped tree; each level is read once.

Rules
-----
* Lockless: the caller is in an RCU read section (aging) or a vCPU in guest mode (the
  hardware). Tables that a concurrent change unlinks stay readable that long.
* With ``mmu_lock``: the structure does not change under the walk.

The order from reading an entry to reading the table it points to is the address
dependency; it pairs with the release store in ``create.py`` that publishes the table.

Sources: arch/powerpc/mm/pgtable.c (``__find_linux_pte``),
arch/powerpc/include/asm/kvm_book3s_64.h (``find_kvm_secondary_pte*``).
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.radix.pte import (
    entry_table,
    level_shift,
    pte_leaf,
    pte_present,
    table_index,
)
from mkold.lang import NULL, READ_ONCE, Ptr, kernel, smp_rmb, u64


@kernel
def radix_walk_to_table(pgtable: Ptr[u64], gfn: u64) -> tuple[Ptr[u64], u64, u64]:
    """Walk down to the entry of ``gfn`` but do not read a base-page entry.

    Returns
    -------
    ptep : the entry where the walk ends
    entry : its value if the walk ends above level 0 (a large leaf, or 0: a hole), else 0
    level : 0 to 3
    """
    ptep = pgtable + table_index(gfn, 3)
    entry = READ_ONCE(ptep.value)
    if not pte_present(entry) or pte_leaf(entry):
        return ptep, entry, 3
    ptep = entry_table(entry) + table_index(gfn, 2)
    entry = READ_ONCE(ptep.value)
    if not pte_present(entry) or pte_leaf(entry):
        return ptep, entry, 2
    ptep = entry_table(entry) + table_index(gfn, 1)
    entry = READ_ONCE(ptep.value)
    if not pte_present(entry) or pte_leaf(entry):
        return ptep, entry, 1
    return entry_table(entry) + table_index(gfn, 0), 0, 0


@kernel
def radix_walk(pgtable: Ptr[u64], gfn: u64) -> tuple[Ptr[u64], u64, u64]:
    """As ``radix_walk_to_table``, and read a base-page entry too."""
    ptep, entry, level = radix_walk_to_table(pgtable, gfn)
    if level == 0:
        entry = READ_ONCE(ptep.value)
    return ptep, entry, level


@kernel
def walk_boundary(gfn: u64, level: u64) -> u64:
    """The first gfn behind what the entry of ``gfn`` at ``level`` covers."""
    shift = level_shift(level)
    return ((gfn >> shift) + 1) << shift


@kernel
def leaf_entry(pgtable: Ptr[u64], gfn: u64) -> tuple[Ptr[u64], u64]:
    """The kernel's idea of a lookup: the entry, and the shift.

    Returns
    -------
    ptep : NULL for a hole above the base-page level
    shift : log2 of the pages of a large leaf; 0 for a base page and for a hole
    """
    ptep, entry, level = radix_walk_to_table(pgtable, gfn)
    if level == 0:
        return ptep, 0
    if not pte_leaf(entry):
        return NULL, 0
    return ptep, level_shift(level)


@kernel
def find_kvm_secondary_pte_unlocked(kvm: Ptr[Kvm], gfn: u64) -> tuple[Ptr[u64], u64]:
    """``leaf_entry`` for callers in an RCU read section; NULL out of radix mode."""
    if not READ_ONCE(kvm.arch.radix):
        return NULL, 0
    smp_rmb()  # pairs with smp_wmb() in kvmppc_switch_mmu_to_radix()
    ptep, shift = leaf_entry(READ_ONCE(kvm.arch.pgtable), gfn)
    return ptep, shift


@kernel
def find_kvm_secondary_pte(kvm: Ptr[Kvm], gfn: u64) -> tuple[Ptr[u64], u64]:
    """``leaf_entry`` for callers that hold ``mmu_lock``.

    NULL out of radix mode, where the tree may be half freed.
    """
    if not READ_ONCE(kvm.arch.radix):
        return NULL, 0
    ptep, shift = leaf_entry(READ_ONCE(kvm.arch.pgtable), gfn)
    return ptep, shift
