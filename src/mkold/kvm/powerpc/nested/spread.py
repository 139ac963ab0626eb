"""What happens to an entry of L1's tree, done to the shadow entries of its page.

Rules
-----
* All of it is under ``mmu_lock``.
* The reverse map of a large leaf is kept at the leaf's first page. When the leaf is taken
  away the lists of all its pages are given up; when a bit of it is cleared, the first page's
  list is gone through, from whichever page of it one came. ``RMAP_OF_GFN`` 1 looks at the list
  of the page that one came from, as Linux does.
* A bit is cleared in L1's entry first, then in the shadow entries, and the TLBs are told of
  it: the next access sets both anew. They are told but not waited for: a vCPU looks for
  requests before each access, and no memory is taken from it here.

Source: arch/powerpc/kvm/book3s_hv_nested.c (``kvmhv_remove_nest_rmap_range``,
``kvmhv_update_nest_rmap_rc_list``). Linux flushes here by L1's number, where L2's is meant.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_memslot
from mkold.kvm.powerpc.asm.kvm_host import Kvm, RmapNested
from mkold.kvm.powerpc.nested.guest import FREE_BY_RCU, NESTED_FREE, kvmhv_find_nested
from mkold.kvm.powerpc.nested.rmap import nest_rmap_gfn, nest_rmap_lpid, nest_rmap_next
from mkold.kvm.powerpc.nested.shadow import find_kvm_nested_guest_pte, maps_frames
from mkold.kvm.powerpc.radix.pte import level_pages, pte_pfn
from mkold.kvm.powerpc.radix.pte_update import kvmppc_radix_update_pte
from mkold.kvm.powerpc.radix.unmap import kvmhv_unmap_shadow_pte
from mkold.kvm.tlb import flush_request, kvm_make_request, kvm_vcpu_of
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    call_rcu,
    cast,
    kernel,
    parameter,
    smp_load_acquire,
    u64,
    xchg,
)
from mkold.mm.slab import kmem_cache_free

RMAP_OF_GFN = parameter("RMAP_OF_GFN", 0)


@kernel
def nest_rmapp(kvm: Ptr[Kvm], gfn: u64) -> Ptr[u64]:
    """The reverse map's word of L1's page ``gfn``; NULL: the VM has no guests of its own."""
    if not READ_ONCE(kvm.arch.nested_enable):
        return cast(Ptr[u64], NULL)
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL or slot.rmap == NULL:
        return cast(Ptr[u64], NULL)
    return slot.rmap + (gfn - slot.base_gfn)


@kernel
def kvmhv_remove_nest_rmap(kvm: Ptr[Kvm], entry: u64, pfn: u64, npages: u64) -> None:
    """Take away the shadow entry that ``entry`` names, if it still maps those frames."""
    gp = kvmhv_find_nested(kvm, nest_rmap_lpid(entry))
    if gp == NULL:
        return
    n_gfn = nest_rmap_gfn(entry)
    ptep, pte, level = find_kvm_nested_guest_pte(gp, n_gfn)
    if maps_frames(pte, pfn, npages):
        kvmhv_unmap_shadow_pte(kvm, ptep, n_gfn, level)


@kernel
def free_node(word: u64) -> None:
    """Free a node; nobody is at it. A callback's argument is a word."""
    kmem_cache_free(cast(Ptr[RmapNested], word).cache, word)


@kernel
def kvmhv_remove_nest_rmap_list(kvm: Ptr[Kvm], rmapp: Ptr[u64], pfn: u64, npages: u64) -> None:
    """Give a page's list up, with the shadow entries that it names."""
    if not READ_ONCE(rmapp.value):
        return
    word = xchg(rmapp.value, 0)
    while word:
        entry, word, node = nest_rmap_next(word)
        kvmhv_remove_nest_rmap(kvm, entry, pfn, npages)
        if node != NULL:
            if NESTED_FREE == FREE_BY_RCU:
                call_rcu(free_node, node)
            else:
                free_node(cast(u64, node))


@kernel
def kvmhv_remove_nest_rmap_range(kvm: Ptr[Kvm], gfn: u64, pfn: u64, npages: u64) -> None:
    """L1's leaf for ``npages`` pages from ``gfn`` on, frames from ``pfn`` on, is gone."""
    rmapp = nest_rmapp(kvm, gfn)
    if rmapp == NULL:
        return
    for i in range(npages):
        kvmhv_remove_nest_rmap_list(kvm, rmapp + i, pfn, npages)


@kernel
def kvmhv_tell_tlbs(kvm: Ptr[Kvm], n_gfn: u64, npages: u64) -> None:
    """Ask every vCPU to flush those pages before its next access; waits for none."""
    request = flush_request(n_gfn, npages)
    n = smp_load_acquire(kvm.n_vcpus)
    for i in range(n):
        kvm_make_request(kvm_vcpu_of(kvm, i), request)


@kernel
def kvmhv_update_nest_rmap_rc(
    kvm: Ptr[Kvm], entry: u64, clr: u64, pfn: u64, npages: u64
) -> None:
    """Clear bits of the shadow entry that ``entry`` names, if it still maps those frames."""
    gp = kvmhv_find_nested(kvm, nest_rmap_lpid(entry))
    if gp == NULL:
        return
    n_gfn = nest_rmap_gfn(entry)
    ptep, pte, level = find_kvm_nested_guest_pte(gp, n_gfn)
    if maps_frames(pte, pfn, npages) and (pte & clr):
        kvmppc_radix_update_pte(ptep, clr, 0)
        n = level_pages(level)
        kvmhv_tell_tlbs(kvm, n_gfn & ~(n - 1), n)


@kernel
def kvmhv_update_nest_rmap_rc_list(
    kvm: Ptr[Kvm], gfn: u64, clr: u64, pte: u64, npages: u64
) -> None:
    """Bits ``clr`` of L1's leaf ``pte``, of ``npages`` pages, ``gfn`` among them, are gone."""
    at: u64 = gfn if RMAP_OF_GFN else gfn & ~(npages - 1)
    rmapp = nest_rmapp(kvm, at)
    if rmapp == NULL:
        return
    word = READ_ONCE(rmapp.value)
    while word:
        entry, word, _node = nest_rmap_next(word)
        kvmhv_update_nest_rmap_rc(kvm, entry, clr, pte_pfn(pte), npages)
