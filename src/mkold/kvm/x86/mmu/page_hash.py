"""The shadow MMU's tables by the guest page that they begin at: the chains of a hash.

A chain changes under ``mmu_lock`` held for writing.

Source: arch/x86/kvm/mmu/mmu.c (``kvm_page_table_hashfn``,
``for_each_gfn_valid_sp_with_gptes``).
"""

from __future__ import annotations

from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage
from mkold.lang import NULL, Ptr, cast, kernel, parameter, u64

KVM_MMU_HASH_SHIFT = parameter("KVM_MMU_HASH_SHIFT", 10)

ROLE_DIRECT = 1


@kernel
def sp_direct(sp: Ptr[KvmMmuPage]) -> bool:
    """Whether a table maps consecutive pages, whatever a guest's own tables say."""
    return (sp.role & ROLE_DIRECT) != 0


@kernel
def mmu_page_bucket(kvm: Ptr[Kvm], gfn: u64) -> Ptr[u64]:
    """Where tables that begin at ``gfn`` are chained."""
    hashed = (gfn * 0x9E3779B97F4A7C15) >> (64 - KVM_MMU_HASH_SHIFT)
    return kvm.arch.shadow.mmu_page_hash + hashed


@kernel
def kvm_next_sp_with_gptes(sp: Ptr[KvmMmuPage], gfn: u64) -> Ptr[KvmMmuPage]:
    """The first table, from ``sp`` on in its chain, that follows the guest's page ``gfn``."""
    while sp != NULL and (sp.gfn != gfn or sp_direct(sp) or sp.invalid):
        sp = sp.hash_next
    return sp


@kernel
def kvm_first_sp_with_gptes(kvm: Ptr[Kvm], gfn: u64) -> Ptr[KvmMmuPage]:
    """The first of all that follow the guest's page ``gfn``, or NULL."""
    return kvm_next_sp_with_gptes(cast(Ptr[KvmMmuPage], mmu_page_bucket(kvm, gfn).value), gfn)
