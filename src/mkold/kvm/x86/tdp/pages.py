"""Page tables of the TDP MMU: allocation, and freeing after a grace period.

A table is filled before anybody can reach it, and is linked in by a full barrier
(``tdp.change``), on which the walkers' address dependency relies. A table that was unlinked
is freed by ``call_rcu``: who walks under RCU, or in guest mode until the next flush, may still
be in it.

Source: arch/x86/kvm/mmu/tdp_mmu.c (``tdp_mmu_alloc_sp``, ``tdp_mmu_free_sp_rcu_callback``).
"""

from __future__ import annotations

from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, sp_spt
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    SHADOW_NONPRESENT_VALUE,
    SPTE_ENT_PER_PAGE,
    level_shift,
)
from mkold.lang import (
    NULL,
    Ptr,
    addr,
    atomic_dec,
    atomic_inc,
    call_rcu,
    cast,
    kernel,
    parameter,
    u64,
)
from mkold.mm.slab import kmem_cache_alloc, kmem_cache_free, kmem_cache_init

FREE_BY_RCU = 0
FREE_AT_ONCE = 1  # a seeded fault
TABLE_FREE = parameter("TABLE_FREE", FREE_BY_RCU)
# 0: the VM's counts of tables and leaves are not kept, which makes scenarios smaller.
PAGE_STATS = parameter("PAGE_STATS", 1)


@kernel
def kvm_init_mmu_page_cache(kvm: Ptr[Kvm]) -> None:
    """Set up the VM's cache of tables."""
    kmem_cache_init(addr(kvm.arch.mmu_page_cache), KvmMmuPage.size + SPTE_ENT_PER_PAGE, 0)


@kernel
def tdp_mmu_alloc_sp(kvm: Ptr[Kvm], level: u64, gfn: u64) -> Ptr[KvmMmuPage]:
    """A table of ``level`` for what ``gfn`` lies in, with nothing present; or NULL."""
    cache = addr(kvm.arch.mmu_page_cache)
    sp = cast(Ptr[KvmMmuPage], kmem_cache_alloc(cache))
    if sp == NULL:
        return sp
    sp.level = level
    sp.invalid = 0
    sp.ad_disabled = not KVM_AD_ENABLED
    sp.gfn = gfn & ~((1 << level_shift(level + 1)) - 1)
    sp.link = NULL
    sp.tdp_mmu_root_count = 0
    sp.tdp_mmu_scheduled_root_to_zap = 0
    sp.cache = cache
    spt = sp_spt(sp)
    for i in range(SPTE_ENT_PER_PAGE):
        spt[i] = SHADOW_NONPRESENT_VALUE
    return sp


@kernel
def tdp_mmu_free_sp(word: u64) -> None:
    """Give back a table that nobody can be in; a callback's argument is a word."""
    kmem_cache_free(cast(Ptr[KvmMmuPage], word).cache, word)


@kernel
def tdp_mmu_free_sp_after_readers(sp: Ptr[KvmMmuPage]) -> None:
    """Give back a table that was just unlinked."""
    if TABLE_FREE == FREE_BY_RCU:
        call_rcu(tdp_mmu_free_sp, sp)
    else:
        tdp_mmu_free_sp(sp)


@kernel
def tdp_account_mmu_page(kvm: Ptr[Kvm]) -> None:
    """A table was linked in."""
    if PAGE_STATS:
        atomic_inc(kvm.arch.tdp_mmu_pages)


@kernel
def tdp_unaccount_mmu_page(kvm: Ptr[Kvm]) -> None:
    """A table was unlinked."""
    if PAGE_STATS:
        atomic_dec(kvm.arch.tdp_mmu_pages)
