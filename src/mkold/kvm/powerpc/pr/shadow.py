"""Shadow entries of a vCPU under PR: what its guest's pages are mapped to, in a few lists.

Rules
-----
* A list changes under the vCPU's ``shadow_lock``; it is read under RCU, by the vCPU and by
  whoever unmaps.
* An entry that is taken out is freed after a grace period.
* No entry has an accessed bit that the host could read.

Source: arch/powerpc/kvm/book3s_mmu_hpte.c (``kvmppc_mmu_hpte_cache_map``, ``invalidate_pte``,
``kvmppc_mmu_pte_pflush``).
Known limits: one of the kernel's five hash lists, and no limit on entries.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import SHADOW_LISTS, HpteCache, Vcpu
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
    rcu_assign_pointer,
    rcu_dereference,
    rcu_read_lock,
    rcu_read_unlock,
    spin_lock,
    spin_unlock,
    u64,
)
from mkold.mm.slab import KmemCache, kmem_cache_alloc, kmem_cache_free

# How many of a vCPU's lists are used.
SHADOW_USED = parameter("SHADOW_USED", SHADOW_LISTS)
SHADOW_SMALL = {"SHADOW_USED": 1}


@kernel
def free_shadow_entry(word: u64) -> None:
    """An entry that nobody can be at goes back to its cache."""
    kmem_cache_free(cast(Ptr[HpteCache], word).cache, word)


@kernel
def kvmppc_mmu_hpte_cache_next(cache: Ptr[KmemCache]) -> Ptr[HpteCache]:
    """A new entry, or NULL."""
    entry = cast(Ptr[HpteCache], kmem_cache_alloc(cache))
    if entry != NULL:
        entry.cache = cache
    return entry


@kernel
def kvmppc_mmu_hpte_cache_map(vcpu: Ptr[Vcpu], entry: Ptr[HpteCache]) -> None:
    """Put an entry that is filled in into its list, at the front."""
    head = addr(vcpu.arch.shadow[entry.gfn & (SHADOW_USED - 1)])
    spin_lock(vcpu.arch.shadow_lock)
    entry.next = READ_ONCE(head.value)
    rcu_assign_pointer(head.value, entry)
    spin_unlock(vcpu.arch.shadow_lock)


@kernel
def invalidate_pte(vcpu: Ptr[Vcpu], entry: Ptr[HpteCache]) -> u64:
    """Take ``entry`` out of its list; 0 if somebody else has."""
    link = addr(vcpu.arch.shadow[entry.gfn & (SHADOW_USED - 1)])
    spin_lock(vcpu.arch.shadow_lock)
    at = READ_ONCE(link.value)
    while at != NULL and at != entry:
        link = addr(at.next)
        at = READ_ONCE(link.value)
    if at != NULL:
        WRITE_ONCE(link.value, READ_ONCE(entry.next))
    spin_unlock(vcpu.arch.shadow_lock)
    if at == NULL:
        return 0
    call_rcu(free_shadow_entry, entry)
    return 1


@kernel
def kvmppc_mmu_pte_pflush(vcpu: Ptr[Vcpu], gfn: u64, end: u64) -> u64:
    """Scan all lists and take out what maps a page of ``[gfn, end)``; how many."""
    found: u64 = 0
    rcu_read_lock()
    for i in range(SHADOW_USED):
        entry = rcu_dereference(vcpu.arch.shadow[i])
        while entry != NULL:
            if entry.gfn - gfn < end - gfn:
                found += invalidate_pte(vcpu, entry)
            entry = rcu_dereference(entry.next)
    rcu_read_unlock()
    return found


@kernel
def shadow_lookup(vcpu: Ptr[Vcpu], gfn: u64) -> tuple[u64, u64]:
    """The frame of ``gfn`` (0: none) and whether the guest may write to it."""
    pfn: u64 = 0
    may_write: u64 = 0
    rcu_read_lock()
    entry = rcu_dereference(vcpu.arch.shadow[gfn & (SHADOW_USED - 1)])
    while entry != NULL:
        if entry.gfn == gfn:
            pfn = entry.pfn
            may_write = entry.may_write
            break
        entry = rcu_dereference(entry.next)
    rcu_read_unlock()
    return pfn, may_write
