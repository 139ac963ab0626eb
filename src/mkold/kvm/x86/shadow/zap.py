"""The tables of the shadow MMU taken away.

Rules
-----
* Everything here runs under ``mmu_lock`` held for writing.
* To take a table away: its SPTEs go, each out of its chain; then what points to it; then it is
  invalid, and to be freed. ``kvm_mmu_commit_zap_page`` flushes, which waits for the vCPUs that
  walk tables in or for the guest, and frees.
* A table that an entry points to already is taken for the one that a fault wants only if it is
  that one (``CHILD_CHECK``).
* The VM has so many tables at most; the oldest go.

Source: arch/x86/kvm/mmu/mmu.c (``__kvm_mmu_prepare_zap_page``, ``kvm_mmu_commit_zap_page``,
``kvm_mmu_get_child_sp``, ``kvm_mmu_zap_oldest_mmu_pages``, ``make_mmu_pages_available``);
0cb2af2ea66a, 81ccda30b4e8.
"""

from __future__ import annotations

from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt
from mkold.kvm.x86.mmu.page_hash import mmu_page_bucket, sp_direct
from mkold.kvm.x86.mmu.spte import (
    SPTE_ENT_PER_PAGE,
    is_last_spte,
    is_shadow_present_pte,
)
from mkold.kvm.x86.shadow.memslot_rmap import rmap_of_gfn
from mkold.kvm.x86.shadow.pages import (
    kvm_mmu_get_shadow_page,
    kvm_mmu_page_get_gfn,
    link_shadow_page,
    lru_sp,
    spte_to_child_sp,
)
from mkold.kvm.x86.shadow.rmap import (
    KVM_RMAP_MANY,
    kvm_rmap_get,
    pte_list_remove,
    rmap_desc,
    rmap_sptep,
)
from mkold.kvm.x86.shadow.rmap_zap import kvm_zap_one_rmap_spte
from mkold.kvm.x86.shadow.spte_update import (
    mmu_spte_clear_no_track,
)
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, addr, cast, kernel, parameter, u64
from mkold.mm.list import list_add, list_del, list_empty
from mkold.mm.slab import kmem_cache_free

KVM_MIN_FREE_MMU_PAGES = parameter("KVM_MIN_FREE_MMU_PAGES", 5)
KVM_REFILL_PAGES = parameter("KVM_REFILL_PAGES", 25)
# How a table that an SPTE points to already is told from the one that a fault wants.
CHILD_TAKEN = 0  # not at all, as in 6.18: what is there is taken
CHILD_OF_GFN = 1  # by the page it begins at (0cb2af2ea66a)
CHILD_OF_ROLE = 2  # and by its role (81ccda30b4e8)
CHILD_CHECK = parameter("CHILD_CHECK", CHILD_OF_ROLE)


@kernel
def child_is(sp: Ptr[KvmMmuPage], gfn: u64, role: u64) -> bool:
    """Whether a table that is linked already is the one that belongs there."""
    if CHILD_CHECK >= CHILD_OF_GFN and sp.gfn != gfn:
        return False
    return CHILD_CHECK < CHILD_OF_ROLE or sp.role == role


@kernel
def drop_parent_pte(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage], sptep: Ptr[u64]) -> None:
    """``sptep`` points to ``sp`` no more."""
    pte_list_remove(addr(kvm.arch.shadow.pte_list_desc_cache), sptep, addr(sp.parent_ptes))
    mmu_spte_clear_no_track(sptep)


@kernel
def drop_spte(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage], index: u64) -> None:
    """Leaf ``index`` of ``sp`` goes."""
    head = rmap_of_gfn(kvm, kvm_mmu_page_get_gfn(sp, index), sp.level)
    kvm_zap_one_rmap_spte(kvm, head, sp_spt(sp) + index)


@kernel
def mmu_page_zap_pte(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage], index: u64) -> None:
    """Entry ``index`` of ``sp`` goes, whatever it is."""
    sptep = sp_spt(sp) + index
    spte = READ_ONCE(sptep.value)
    if is_shadow_present_pte(spte):
        if is_last_spte(spte, sp.level):
            drop_spte(kvm, sp, index)
        else:
            drop_parent_pte(kvm, spte_to_child_sp(spte), sptep)


@kernel
def kvm_mmu_get_child_sp(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], sp: Ptr[KvmMmuPage], index: u64, gfn: u64, role: u64
) -> Ptr[KvmMmuPage]:
    """The table of ``gfn`` and ``role`` below entry ``index`` of ``sp``, linked there; what was
    there instead goes, and is flushed."""
    sptep = sp_spt(sp) + index
    spte = READ_ONCE(sptep.value)
    if is_shadow_present_pte(spte):
        if not is_last_spte(spte, sp.level) and child_is(spte_to_child_sp(spte), gfn, role):
            return spte_to_child_sp(spte)
        mmu_page_zap_pte(kvm, sp, index)
        kvm_flush_remote_tlbs(kvm)
    child = kvm_mmu_get_shadow_page(kvm, vcpu, gfn, sp.level - 1, role)
    link_shadow_page(vcpu, sptep, child)
    return child


@kernel
def kvm_mmu_unlink_parents(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage]) -> None:
    """Nothing points to ``sp`` any more."""
    while True:
        val = kvm_rmap_get(addr(sp.parent_ptes))
        if val == 0:
            return
        sptep = rmap_sptep(val)
        if val & KVM_RMAP_MANY:
            sptep = cast(Ptr[u64], rmap_desc(val).sptes[0])
        drop_parent_pte(kvm, sp, sptep)


@kernel
def kvm_mmu_prepare_zap_page(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage]) -> None:
    """``sp`` is no vCPU's root: empty it, unlink it, and have it freed by the next commit."""
    for i in range(SPTE_ENT_PER_PAGE):
        mmu_page_zap_pte(kvm, sp, i)
    kvm_mmu_unlink_parents(kvm, sp)
    if not sp_direct(sp):
        WRITE_ONCE(kvm.arch.indirect_shadow_pages, kvm.arch.indirect_shadow_pages - 1)
    list_del(addr(sp.lru))
    list_add(addr(sp.lru), addr(kvm.arch.shadow.invalid_list))
    kvm.arch.shadow.n_used_mmu_pages -= 1
    WRITE_ONCE(sp.invalid, 1)


@kernel
def kvm_mmu_free_shadow_page(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage]) -> None:
    """Nobody can be in ``sp``: it leaves its chain, and its memory goes."""
    bucket = mmu_page_bucket(kvm, sp.gfn)
    at = cast(Ptr[KvmMmuPage], bucket.value)
    if at == sp:
        bucket.value = sp.hash_next
    else:
        while at.hash_next != sp:
            at = at.hash_next
        at.hash_next = sp.hash_next
    list_del(addr(sp.lru))
    if sp.shadowed_translation != NULL:
        info = cast(u64, sp.shadowed_translation)
        kmem_cache_free(addr(kvm.arch.shadow.shadowed_info_cache), info)
    kmem_cache_free(sp.cache, cast(u64, sp))


@kernel
def kvm_mmu_commit_zap_page(kvm: Ptr[Kvm]) -> None:
    """Free what was taken away.

    Ordering
    --------
    Posts a flush, which is a full barrier, to every vCPU, and waits for those that are in guest
    mode or in a walk (``READING_SHADOW_PAGE_TABLES``).
    """
    invalid_list = addr(kvm.arch.shadow.invalid_list)
    if list_empty(invalid_list):
        return
    kvm_flush_remote_tlbs(kvm)
    while not list_empty(invalid_list):
        kvm_mmu_free_shadow_page(kvm, lru_sp(invalid_list.next))


@kernel
def kvm_mmu_zap_oldest_mmu_pages(kvm: Ptr[Kvm], n: u64) -> u64:
    """Take ``n`` tables away, the oldest first, but no roots; how many there were."""
    head = addr(kvm.arch.shadow.active_mmu_pages)
    zapped: u64 = 0
    at = head.prev
    while at != head and zapped < n:
        before = at.prev
        if lru_sp(at).root_count == 0:
            kvm_mmu_prepare_zap_page(kvm, lru_sp(at))
            zapped += 1
        at = before
    kvm_mmu_commit_zap_page(kvm)
    return zapped


@kernel
def make_mmu_pages_available(kvm: Ptr[Kvm]) -> u64:
    """There is room for the tables of a fault; 0, or 1 if not even now."""
    shadow = addr(kvm.arch.shadow)
    free = shadow.n_max_mmu_pages - min(shadow.n_max_mmu_pages, shadow.n_used_mmu_pages)
    if free >= KVM_MIN_FREE_MMU_PAGES:
        return 0
    return free + kvm_mmu_zap_oldest_mmu_pages(kvm, KVM_REFILL_PAGES - free) == 0
