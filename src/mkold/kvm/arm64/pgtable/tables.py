"""Tables: their reference counts, where they come from, and when one is freed.

Rules
-----
* A table's count is one and one more for each entry that is not 0; a table that nobody refers
  to is freed by the last ``put_page``. The root has one count, however many tables it is, and
  its memory is for one VM.
* A walk never waits for memory: tables are taken beforehand (``kvm_mmu_topup_memory_cache``).
* A table that others may be walking is freed after a grace period (``call_rcu``): with all that
  is below when it gives way to a block; alone and empty when it is unmapped, if
  ``UNMAP_FREE`` says so.

Words in front of a table: the VM, the count, the level of the entry that pointed to it.

Sources: arch/arm64/kvm/mmu.c (``stage2_memcache_zalloc_page``, ``stage2_free_unlinked_table``),
arch/arm64/kvm/hyp/pgtable.c (``kvm_pgtable_stage2_free_unlinked``); "KVM: arm64: make stage2
page tables RCU safe", lore 20230526234435.662652-5-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.kvm.arm64.asm.kvm_host import KVM_MMU_CACHE_OBJECTS, Kvm, KvmMmuMemoryCache
from mkold.kvm.arm64.pgtable.geometry import (
    STAGE2_TABLE_SHIFT,
    ptrs_per_table,
    stage2_start_level,
    table_index,
)
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    addr,
    atomic_dec,
    atomic_dec_and_test,
    atomic_inc,
    call_rcu,
    cast,
    kernel,
    parameter,
    poison,
    u64,
)
from mkold.mm.page_alloc import memblock_alloc
from mkold.mm.slab import kmem_cache_alloc_sleeping, kmem_cache_free, kmem_cache_init

FREE_BY_RCU = 0
FREE_AT_ONCE = 1
# How a table goes that unmapping has emptied.
UNMAP_FREE = parameter("UNMAP_FREE", FREE_BY_RCU)

# Words in front of a table; a cache line, so that tables start on one.
STAGE2_TABLE_HEADER = parameter("STAGE2_TABLE_HEADER", 8)
HEADER_KVM = 0
HEADER_COUNT = 1
HEADER_LEVEL = 2


@kernel
def stage2_caches_init(kvm: Ptr[Kvm]) -> None:
    """Set up the cache for tables."""
    kmem_cache_init(
        addr(kvm.arch.page_cache), STAGE2_TABLE_HEADER + (1 << STAGE2_TABLE_SHIFT), 0
    )


@kernel
def new_table(kvm: Ptr[Kvm], head: Ptr[u64], n: u64) -> Ptr[u64]:
    """``n`` entries of 0 with one reference, in fresh memory, or NULL."""
    if head == NULL:
        return NULL
    head[HEADER_KVM] = cast(u64, kvm)
    head[HEADER_COUNT] = 1
    table = head + STAGE2_TABLE_HEADER
    for i in range(n):
        table[i] = 0
    return table


@kernel
def zalloc_table(kvm: Ptr[Kvm]) -> Ptr[u64]:
    """An empty table with one reference, or NULL. May sleep."""
    head = cast(Ptr[u64], kmem_cache_alloc_sleeping(addr(kvm.arch.page_cache)))
    return new_table(kvm, head, 1 << STAGE2_TABLE_SHIFT)


@kernel
def kvm_mmu_topup_memory_cache(kvm: Ptr[Kvm], mc: Ptr[KvmMmuMemoryCache], least: u64) -> u64:
    """See to it that ``mc`` has ``least`` tables; 0, or 1 if there is no memory. May sleep."""
    while mc.nobjs < min(least, KVM_MMU_CACHE_OBJECTS):
        table = zalloc_table(kvm)
        if table == NULL:
            return 1
        mc.objects[mc.nobjs] = table
        mc.nobjs += 1
    return 0


@kernel
def stage2_memcache_zalloc_page(mc: Ptr[KvmMmuMemoryCache]) -> Ptr[u64]:
    """A table of ``mc``, or NULL."""
    if mc.nobjs == 0:
        return NULL
    mc.nobjs -= 1
    return cast(Ptr[u64], mc.objects[mc.nobjs])


@kernel
def table_of(ptep: Ptr[u64], gfn: u64, level: u64) -> Ptr[u64]:
    """The table that ``ptep``, the entry of ``gfn`` at ``level``, lies in."""
    return ptep - table_index(gfn, level)


@kernel
def get_page(table: Ptr[u64]) -> None:
    """One reference more."""
    atomic_inc((table - STAGE2_TABLE_HEADER)[HEADER_COUNT])


@kernel
def page_count(table: Ptr[u64]) -> u64:
    """References to a table."""
    return READ_ONCE((table - STAGE2_TABLE_HEADER)[HEADER_COUNT])


@kernel
def put_page(table: Ptr[u64]) -> None:
    """One reference less; the last one frees the table."""
    head = table - STAGE2_TABLE_HEADER
    if atomic_dec_and_test(head[HEADER_COUNT]):
        kvm = cast(Ptr[Kvm], head[HEADER_KVM])
        kmem_cache_free(addr(kvm.arch.page_cache), cast(u64, head))


@kernel
def put_page_rcu_cb(word: u64) -> None:
    """After a grace period: let go of a table that was unmapped."""
    head = cast(Ptr[u64], word) - STAGE2_TABLE_HEADER
    kvm = cast(Ptr[Kvm], head[HEADER_KVM])
    atomic_dec(kvm.arch.mmu.nr_deferred)
    put_page(cast(Ptr[u64], word))


@kernel
def put_unmapped_table(kvm: Ptr[Kvm], table: Ptr[u64]) -> None:
    """Let go of an empty table that was just unlinked and flushed."""
    if UNMAP_FREE == FREE_BY_RCU:
        atomic_inc(kvm.arch.mmu.nr_deferred)
        call_rcu(put_page_rcu_cb, table)
    else:
        put_page(table)


@kernel
def alloc_pgd(kvm: Ptr[Kvm]) -> Ptr[u64]:
    """The root, or NULL."""
    n = ptrs_per_table(stage2_start_level())
    return new_table(kvm, cast(Ptr[u64], memblock_alloc(STAGE2_TABLE_HEADER + n)), n)


@kernel
def free_pgd(pgd: Ptr[u64]) -> None:
    """The root is gone; nobody is in it."""
    n = ptrs_per_table(stage2_start_level())
    poison((pgd - STAGE2_TABLE_HEADER).value, STAGE2_TABLE_HEADER + n)
