"""A VM's hash table: its size, its allocation, and its reset.

Rules
-----
* Who frees a table or makes a new one holds ``mmu_setup_lock`` and has stopped the vCPUs.
  Notifiers are not stopped: they come under ``mmu_lock``, through the rmap words.
* So rmap words are reset (under ``mmu_lock``) *before* a table that their rings lie in is
  freed or emptied. The kernel does it after that: ``HPT_FREED_FIRST``.
* R and C are lost with a reset.

Source: arch/powerpc/kvm/book3s_64_mmu_hv.c (``kvmppc_allocate_hpt``, ``kvmppc_set_hpt``,
``kvmppc_alloc_reset_hpt``, ``kvmppc_free_hpt``).
Known limits: no resizing with the guest running (``KVM_PPC_RESIZE_HPT_*``); nothing bolted is
kept over a reset.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm, RevmapEntry
from mkold.kvm.powerpc.hash.hpte import HPT_ALIAS, HPTE_GROUP_SHIFT, name_gfn
from mkold.kvm.powerpc.hash.rmap import kvmppc_rmap_reset
from mkold.kvm.powerpc.hash.vmalloc import vfree, vzalloc
from mkold.lang import (
    NULL,
    WRITE_ONCE,
    Ptr,
    addr,
    cast,
    kernel,
    parameter,
    smp_load_acquire,
    u64,
)
from mkold.mm.page_alloc import memblock_alloc

# Not 0: the order of every table. 0: what the VMM asks for, two HPTEs a page or more.
HPT_ORDER = parameter("HPT_ORDER", 0)
PPC_MIN_HPT_ORDER = 18
# 1: a table is freed or emptied before the rmap words are reset, as in the kernel.
HPT_FREED_FIRST = parameter("HPT_FREED_FIRST", 0)
HPTE_SHIFT = 4  # log2 of the bytes of an HPTE
REV_WORDS = 3


@kernel
def hpt_npte(kvm: Ptr[Kvm]) -> u64:
    """HPTEs of the table."""
    return 1 << (kvm.arch.hpt.order - HPTE_SHIFT)


@kernel
def hpt_entry(kvm: Ptr[Kvm], index: u64) -> Ptr[u64]:
    """HPTE ``index``: V, and R behind it."""
    return kvm.arch.hpt.virt + 2 * index


@kernel
def hpt_group_mask(kvm: Ptr[Kvm]) -> u64:
    """What a hash is cut to, to give a group."""
    return (hpt_npte(kvm) >> HPTE_GROUP_SHIFT) - 1


@kernel
def hpt_end_gfn(kvm: Ptr[Kvm]) -> u64:
    """The page behind the guest's last one."""
    end: u64 = 0
    n_slots = smp_load_acquire(kvm.n_slots)
    for i in range(n_slots):
        end = max(end, kvm.slots[i].base_gfn + kvm.slots[i].npages)
    return end


@kernel
def hpt_order_wanted(kvm: Ptr[Kvm]) -> u64:
    """The order of a table for the guest's memory."""
    if HPT_ORDER:
        return HPT_ORDER
    pages: u64 = 0
    n_slots = smp_load_acquire(kvm.n_slots)
    for i in range(n_slots):
        pages += kvm.slots[i].npages
    order: u64 = PPC_MIN_HPT_ORDER
    while (1 << (order - HPTE_SHIFT)) < 2 * pages:
        order += 1
    return order


@kernel
def kvmppc_free_hpt(kvm: Ptr[Kvm]) -> None:
    """Free the table and its revmap; no rmap word has a ring."""
    hpt = kvm.arch.hpt.virt
    rev = kvm.arch.hpt.rev
    WRITE_ONCE(kvm.arch.hpt.virt, NULL)
    WRITE_ONCE(kvm.arch.hpt.rev, NULL)
    vfree(hpt)
    vfree(cast(Ptr[u64], rev))


@kernel
def kvmppc_allocate_hpt(kvm: Ptr[Kvm], order: u64) -> u64:
    """A table of that order, all zero; 0, or 1 if there is no memory."""
    npte = 1 << (order - HPTE_SHIFT)
    hpt = vzalloc(2 * npte)
    rev = vzalloc(REV_WORDS * npte)
    if hpt == NULL or rev == NULL:
        vfree(hpt)
        vfree(rev)
        return 1
    kvm.arch.hpt.order = order
    WRITE_ONCE(kvm.arch.hpt.rev, cast(Ptr[RevmapEntry], rev))
    WRITE_ONCE(kvm.arch.hpt.virt, hpt)
    return 0


@kernel
def allocate_guest_ptes(kvm: Ptr[Kvm]) -> u64:
    """Room for what the guest's kernel keeps by a page's name, once; 0, or 1: no memory."""
    if kvm.arch.guest_ptes == NULL:
        n_names: u64 = 2 if HPT_ALIAS else 1
        kvm.arch.guest_ptes = cast(Ptr[u64], memblock_alloc(n_names * hpt_end_gfn(kvm)))
    return kvm.arch.guest_ptes == NULL


@kernel
def guest_pte(kvm: Ptr[Kvm], name: u64) -> Ptr[u64]:
    """What the guest's kernel keeps about the page that it calls ``name``."""
    second: u64 = hpt_end_gfn(kvm) if name & HPT_ALIAS else 0
    return kvm.arch.guest_ptes + name_gfn(name) + second


@kernel
def kvmppc_alloc_reset_hpt(kvm: Ptr[Kvm], order: u64) -> u64:
    """An empty table of that order, whatever was there; no vCPU runs.

    Returns
    -------
    0, or 1 if there is no memory (there is no table then)
    """
    hpt = addr(kvm.arch.hpt)
    if allocate_guest_ptes(kvm):
        return 1
    if hpt.virt != NULL and hpt.order == order:
        if not HPT_FREED_FIRST:
            kvmppc_rmap_reset(kvm)
        for i in range(2 * hpt_npte(kvm)):
            WRITE_ONCE(hpt.virt[i], 0)
        if HPT_FREED_FIRST:
            kvmppc_rmap_reset(kvm)
        return 0
    if HPT_FREED_FIRST:
        kvmppc_free_hpt(kvm)
        kvmppc_rmap_reset(kvm)
    else:
        kvmppc_rmap_reset(kvm)
        kvmppc_free_hpt(kvm)
    return kvmppc_allocate_hpt(kvm, order)
