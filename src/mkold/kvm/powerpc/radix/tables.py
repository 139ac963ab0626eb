"""Tables of the tree: allocation, and when a table may be used again.

``TABLE_FREE`` says how a table goes that was unlinked while others may walk it:

* ``FREE_BY_RCU``: after a grace period (``call_rcu``). The default.
* ``FREE_TYPESAFE``: at once, PTE and PMD tables to a typesafe-by-RCU slab, as posted: the
  memory stays a table, but may be another table's, or another VM's, before the walker is
  done. Such a table is zeroed before it is freed, so the slab hands out zeroed tables.
  PUD and PGD tables go at once to an ordinary slab; the switch's grace period covers them.
* ``FREE_AT_ONCE``: at once, to an ordinary slab. A seeded fault.

The four caches, one a level, belong to the VM. A word in front of each table names its
cache, so that a callback of one word can free it. With ``PAGE_COUNT_WARNING`` the next word
is the reference count of the page that the table lies in: the page of a typesafe slab
stays with the slab, any other may go back when the table is freed.

Sources: arch/powerpc/kvm/book3s_64_mmu_radix.c (``kvm-pte`` and ``kvm-pmd`` caches,
``kvmppc_free_pgtable_radix``); "KVM: powerpc: make radix page tables RCU safe", lore
20230526234435.662652-7-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.radix.pte import entry_table, pte_leaf, pte_present, ptrs_per_table
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    call_rcu,
    cast,
    kernel,
    parameter,
    u64,
)
from mkold.mm.slab import (
    SLAB_TYPESAFE_BY_RCU,
    KmemCache,
    kmem_cache_alloc,
    kmem_cache_free,
    kmem_cache_init,
)

FREE_BY_RCU = 0
FREE_TYPESAFE = 1
FREE_AT_ONCE = 2
TABLE_FREE = parameter("TABLE_FREE", FREE_BY_RCU)

# Words in front of a table; a cache line, so that tables start on one.
HEADER = parameter("TABLE_HEADER", 8)
# 1: the walk warns, as posted, where the page of a table has no references.
PAGE_COUNT_WARNING = parameter("PAGE_COUNT_WARNING", 0)


@kernel
def is_typesafe(level: u64) -> u64:
    """Whether tables of ``level`` are recycled under their readers."""
    return TABLE_FREE == FREE_TYPESAFE and level < 2


@kernel
def kvmppc_radix_init(kvm: Ptr[Kvm]) -> None:
    """Set up the caches for tables."""
    for level in range(4):
        flags = SLAB_TYPESAFE_BY_RCU if is_typesafe(level) else 0
        kmem_cache_init(addr(kvm.arch.caches[level]), HEADER + ptrs_per_table(level), flags)


@kernel
def zero_table(table: Ptr[u64], n: u64) -> None:
    """Zero ``n`` entries; walkers may be looking only if the table is typesafe."""
    for i in range(n):
        if TABLE_FREE == FREE_TYPESAFE:
            WRITE_ONCE(table[i], 0)
        else:
            table[i] = 0


@kernel
def alloc_table(kvm: Ptr[Kvm], level: u64) -> Ptr[u64]:
    """A zeroed table for ``level``, or NULL."""
    cache = addr(kvm.arch.caches[level])
    table = cast(Ptr[u64], kmem_cache_alloc(cache))
    if table == NULL:
        return NULL
    table[0] = cache
    if PAGE_COUNT_WARNING:
        WRITE_ONCE(table[1], 1)
    table = table + HEADER
    zero_table(table, ptrs_per_table(level))
    return table


@kernel
def free_table_now(word: u64) -> None:
    """Give a table back to its cache; nobody is in it. A callback's argument is a word."""
    head = cast(Ptr[u64], word) - HEADER
    if PAGE_COUNT_WARNING and not cast(Ptr[KmemCache], head[0]).flags:
        WRITE_ONCE(head[1], 0)
    kmem_cache_free(cast(Ptr[KmemCache], head[0]), cast(u64, head))


@kernel
def page_count(table: Ptr[u64]) -> u64:
    """References of the page that ``table`` lies in."""
    return READ_ONCE((table - HEADER)[1])


@kernel
def free_table(kvm: Ptr[Kvm], table: Ptr[u64], level: u64) -> None:
    """Free a table that was just unlinked and that walkers may still be in."""
    if TABLE_FREE == FREE_BY_RCU:
        call_rcu(free_table_now, table)
    else:
        zero_table(table, ptrs_per_table(level))
        free_table_now(table)


@kernel
def free_unlinked_table(table: Ptr[u64], level: u64) -> None:
    """Free a table that nobody can be in any more."""
    if is_typesafe(level):
        zero_table(table, ptrs_per_table(level))
    free_table_now(table)


@kernel
def free_pmd_tables(pmd: Ptr[u64]) -> None:
    """Free a PMD table and the tables below it."""
    for i in range(ptrs_per_table(1)):
        entry = READ_ONCE(pmd[i])
        if pte_present(entry) and not pte_leaf(entry):
            free_unlinked_table(entry_table(entry), 0)
    free_unlinked_table(pmd, 1)


@kernel
def free_pud_tables(pud: Ptr[u64]) -> None:
    """Free a PUD table and the tables below it."""
    for i in range(ptrs_per_table(2)):
        entry = READ_ONCE(pud[i])
        if pte_present(entry) and not pte_leaf(entry):
            free_pmd_tables(entry_table(entry))
    free_unlinked_table(pud, 2)


@kernel
def kvmppc_free_radix(kvm: Ptr[Kvm]) -> None:
    """Free the whole tree; no vCPU runs and every fast-path walker is gone."""
    pgd = READ_ONCE(kvm.arch.pgtable)
    if pgd == NULL:
        return
    for i in range(ptrs_per_table(3)):
        entry = READ_ONCE(pgd[i])
        if pte_present(entry):
            free_pud_tables(entry_table(entry))
    free_unlinked_table(pgd, 3)
    WRITE_ONCE(kvm.arch.pgtable, NULL)
