"""Freeing what was unlinked: a table with all that is below it.

It gave way to a block, so that others may still walk it, and one of them may even put an entry
there, which is counted: everything is counted and freed after the grace period.

The kernel walks such a table with a visitor (``stage2_free_walker``). Here it is a walk of its
own, since mapping, itself a visitor, may start it, and a walk in a walk is a recursion.

Source: arch/arm64/kvm/hyp/pgtable.c (``kvm_pgtable_stage2_free_unlinked``),
arch/arm64/kvm/mmu.c (``stage2_free_unlinked_table``).
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import Kvm
from mkold.kvm.arm64.pgtable.geometry import STAGE2_TABLE_SHIFT
from mkold.kvm.arm64.pgtable.pte import kvm_pte_follow, kvm_pte_table, stage2_pte_is_counted
from mkold.kvm.arm64.pgtable.tables import (
    HEADER_KVM,
    HEADER_LEVEL,
    STAGE2_TABLE_HEADER,
    page_count,
    put_page,
)
from mkold.lang import (
    READ_ONCE,
    WARN_ON_ONCE,
    Ptr,
    atomic_dec,
    atomic_inc,
    call_rcu,
    cast,
    kernel,
    parameter,
    u64,
)

# 0, as before commit f6a27d6dc51b: the last reference stays.
PUT_UNLINKED_ROOT = parameter("PUT_UNLINKED_ROOT", 1)
# 1: a table that gave way to a block is freed without a grace period.
COLLAPSE_FREES_AT_ONCE = parameter("COLLAPSE_FREES_AT_ONCE", 0)


@kernel
def free_entries_3(table: Ptr[u64]) -> None:
    """Give back what the entries of a table at level 3 hold."""
    for i in range(1 << STAGE2_TABLE_SHIFT):
        if stage2_pte_is_counted(READ_ONCE(table[i])):
            put_page(table)


@kernel
def free_entries_2(table: Ptr[u64]) -> None:
    """The same of a table at level 2, and of the tables below."""
    for i in range(1 << STAGE2_TABLE_SHIFT):
        pte = READ_ONCE(table[i])
        if kvm_pte_table(pte, 2):
            free_entries_3(kvm_pte_follow(pte))
            put_page(kvm_pte_follow(pte))
        if stage2_pte_is_counted(pte):
            put_page(table)


@kernel
def kvm_pgtable_stage2_free_unlinked(table: Ptr[u64], level: u64) -> None:
    """Free a table whose entry was at ``level`` (1 or 2), with all that is below."""
    if level == 2:
        free_entries_3(table)
    else:
        free_entries_2(table)
    WARN_ON_ONCE(page_count(table) != 1)
    if PUT_UNLINKED_ROOT:
        put_page(table)


@kernel
def stage2_free_unlinked_table_rcu_cb(word: u64) -> None:
    """After a grace period: free a table that gave way."""
    head = cast(Ptr[u64], word) - STAGE2_TABLE_HEADER
    atomic_dec(cast(Ptr[Kvm], head[HEADER_KVM]).arch.mmu.nr_deferred)
    kvm_pgtable_stage2_free_unlinked(cast(Ptr[u64], word), head[HEADER_LEVEL])


@kernel
def stage2_free_unlinked_table(kvm: Ptr[Kvm], table: Ptr[u64], level: u64) -> None:
    """A table gave way to a block: free it when nobody walks it any more."""
    if COLLAPSE_FREES_AT_ONCE:
        kvm_pgtable_stage2_free_unlinked(table, level)
        return
    (table - STAGE2_TABLE_HEADER)[HEADER_LEVEL] = level
    atomic_inc(kvm.arch.mmu.nr_deferred)
    call_rcu(stage2_free_unlinked_table_rcu_cb, table)
