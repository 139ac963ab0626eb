"""The tables of the shadow MMU: found, made, linked.

Rules
-----
* Everything here runs under ``mmu_lock`` held for writing.
* A table is known by the guest page that it begins at, its level, and its role: whether it is
  direct (maps consecutive pages) and what access it allows. One that is not linked any more is
  kept and found again.
* An indirect table keeps for each entry which guest page it maps, and what access the guest's
  own entry allows (``shadowed_translation``); there are ``indirect_shadow_pages`` of them.

Source: arch/x86/kvm/mmu/mmu.c (``kvm_mmu_get_shadow_page``, ``account_shadowed``).
Known limits: roles have no mode of the guest's; tables are not made obsolete all at once; one
that is out of step (``unsync``) when it is found again is brought back at the next entry only
(``sync``).
"""

from __future__ import annotations

from mkold.kvm.memory_cache import kvm_mmu_memory_cache_alloc
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt, spt_sp
from mkold.kvm.x86.mmu.page_hash import KVM_MMU_HASH_SHIFT, mmu_page_bucket, sp_direct
from mkold.kvm.x86.mmu.spte import (
    KVM_AD_ENABLED,
    SHADOW_NONPRESENT_VALUE,
    SPTE_ENT_PER_PAGE,
    level_shift,
    make_nonleaf_spte,
    spte_to_child_pt,
)
from mkold.kvm.x86.shadow.rmap import (
    PteListDesc,
    pte_list_add,
)
from mkold.kvm.x86.shadow.spte_update import (
    mmu_spte_set,
)
from mkold.kvm.x86.shadow.write_protect import kvm_vcpu_write_protect_gfn
from mkold.lang import NULL, WRITE_ONCE, Ptr, addr, cast, kernel, u64
from mkold.mm.list import init_list_head, list_add
from mkold.mm.mm_types import ListHead
from mkold.mm.page_alloc import memblock_alloc
from mkold.mm.slab import kmem_cache_init

ROLE_ACCESS_SHIFT = 1
ACC_BITS = 3
ACC_ALL = (1 << ACC_BITS) - 1
LRU_OFFSET = KvmMmuPage.offset("lru")


# -- what is known of a table ------------------------------------------------------------------


@kernel
def role_of(direct: u64, access: u64) -> u64:
    """The role of a table."""
    return direct | (access << ROLE_ACCESS_SHIFT)


@kernel
def spte_to_child_sp(spte: u64) -> Ptr[KvmMmuPage]:
    """The table that an SPTE points to."""
    return spt_sp(spte_to_child_pt(spte))


@kernel
def kvm_mmu_page_get_gfn(sp: Ptr[KvmMmuPage], index: u64) -> u64:
    """The first guest page that entry ``index`` maps."""
    if sp.shadowed_translation != NULL:
        return sp.shadowed_translation[index] >> ACC_BITS
    return sp.gfn + (index << level_shift(sp.level))


@kernel
def kvm_mmu_page_set_translation(sp: Ptr[KvmMmuPage], index: u64, gfn: u64) -> None:
    """Entry ``index`` maps ``gfn``, which a direct table says by itself."""
    if sp.shadowed_translation != NULL:
        sp.shadowed_translation[index] = (gfn << ACC_BITS) | ACC_ALL


@kernel
def kvm_mmu_page_get_access(sp: Ptr[KvmMmuPage], index: u64) -> u64:
    """What the guest's own entry ``index`` allowed when an indirect table last followed it."""
    return sp.shadowed_translation[index] & ACC_ALL


@kernel
def kvm_mmu_page_set_access(sp: Ptr[KvmMmuPage], index: u64, access: u64) -> None:
    """The guest's own entry ``index`` allows ``access``."""
    word = sp.shadowed_translation[index]
    sp.shadowed_translation[index] = (word & ~ACC_ALL) | access


@kernel
def lru_sp(entry: Ptr[ListHead]) -> Ptr[KvmMmuPage]:
    """The table whose place in the list of all is ``entry``."""
    return cast(Ptr[KvmMmuPage], cast(u64, entry) - LRU_OFFSET)


# -- finding and making ------------------------------------------------------------------------


@kernel
def kvm_mmu_init_shadow(kvm: Ptr[Kvm]) -> u64:
    """A new VM, which has no table; 0, or 1 if there is no memory."""
    shadow = addr(kvm.arch.shadow)
    kmem_cache_init(addr(kvm.arch.mmu_page_cache), KvmMmuPage.size + SPTE_ENT_PER_PAGE, 0)
    init_list_head(addr(shadow.active_mmu_pages))
    init_list_head(addr(shadow.invalid_list))
    kmem_cache_init(addr(shadow.pte_list_desc_cache), PteListDesc.size, 0)
    kmem_cache_init(addr(shadow.shadowed_info_cache), SPTE_ENT_PER_PAGE, 0)
    words = memblock_alloc(1 << KVM_MMU_HASH_SHIFT)
    shadow.mmu_page_hash = cast(Ptr[u64], words)
    return words == 0


@kernel
def kvm_mmu_find_shadow_page(kvm: Ptr[Kvm], gfn: u64, level: u64, role: u64) -> Ptr[KvmMmuPage]:
    """The table of this identity, or NULL."""
    sp = cast(Ptr[KvmMmuPage], mmu_page_bucket(kvm, gfn).value)
    while sp != NULL:
        if sp.gfn == gfn and sp.level == level and sp.role == role and not sp.invalid:
            return sp
        sp = sp.hash_next
    return NULL


@kernel
def account_shadowed(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage]) -> None:
    """A table follows one of the guest's own, which is not to be written to unseen."""
    WRITE_ONCE(kvm.arch.indirect_shadow_pages, kvm.arch.indirect_shadow_pages + 1)
    if kvm_vcpu_write_protect_gfn(kvm, sp.gfn):
        kvm_flush_remote_tlbs(kvm)


@kernel
def kvm_mmu_alloc_shadow_page(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, level: u64, role: u64
) -> Ptr[KvmMmuPage]:
    """A new table, all of whose SPTEs are not present."""
    cache = addr(vcpu.arch.mmu_shadow_page_cache)
    sp = cast(Ptr[KvmMmuPage], kvm_mmu_memory_cache_alloc(cache))
    bucket = mmu_page_bucket(kvm, gfn)
    sp.level = level
    sp.invalid = 0
    sp.ad_disabled = not KVM_AD_ENABLED
    sp.gfn = gfn
    sp.cache = addr(kvm.arch.mmu_page_cache)
    sp.parent_ptes = 0
    sp.role = role
    sp.root_count = 0
    sp.unsync = 0
    sp.hash_next = cast(Ptr[KvmMmuPage], bucket.value)
    sp.shadowed_translation = cast(Ptr[u64], NULL)
    if not sp_direct(sp):
        info = kvm_mmu_memory_cache_alloc(addr(vcpu.arch.mmu_shadowed_info_cache))
        sp.shadowed_translation = cast(Ptr[u64], info)
    for i in range(SPTE_ENT_PER_PAGE):
        sp_spt(sp)[i] = SHADOW_NONPRESENT_VALUE
    bucket.value = sp
    list_add(addr(sp.lru), addr(kvm.arch.shadow.active_mmu_pages))
    kvm.arch.shadow.n_used_mmu_pages += 1
    if not sp_direct(sp):
        account_shadowed(kvm, sp)
    return sp


@kernel
def kvm_mmu_get_shadow_page(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, level: u64, role: u64
) -> Ptr[KvmMmuPage]:
    """The table of this identity, made if there is none. The vCPU's cache has one."""
    sp = kvm_mmu_find_shadow_page(kvm, gfn, level, role)
    if sp == NULL:
        sp = kvm_mmu_alloc_shadow_page(kvm, vcpu, gfn, level, role)
    return sp


@kernel
def kvm_mmu_put_root(vcpu: Ptr[Vcpu]) -> None:
    """``vcpu`` has no root any more."""
    root = vcpu.arch.root
    if root != NULL:
        root.root_count -= 1
        vcpu.arch.root = cast(Ptr[KvmMmuPage], NULL)


@kernel
def link_shadow_page(vcpu: Ptr[Vcpu], sptep: Ptr[u64], sp: Ptr[KvmMmuPage]) -> None:
    """``sptep``, which is not present, points to ``sp``."""
    mmu_spte_set(sptep, make_nonleaf_spte(sp))
    pte_list_add(addr(vcpu.arch.mmu_pte_list_desc_cache), sptep, addr(sp.parent_ptes))
