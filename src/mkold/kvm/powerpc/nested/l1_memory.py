"""Reading what L1 wrote: its partition table, and its table of L2's memory.

Rules
-----
* L0 reads L1's memory as its own process's: no bit of L1's entries in L0's tree changes, nor
  does any of L1's own entries. No lock is held.
* A table of L1 is one page of its memory, of as many entries as the machine models words of
  a page (``PAGE_SHIFT``); the partition table says of how many levels the tree is. An entry
  is made as in ``radix.pte``, with L1's page numbers, also where it names a table.

Source: arch/powerpc/kvm/book3s_64_mmu_radix.c (``kvmppc_mmu_walk_radix_tree``),
book3s_hv_nested.c (``kvmhv_update_ptbl_cache``); Power ISA 3.0B, Book III, 5.7.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.powerpc.asm.kvm_host import Kvm, KvmNestedGuest
from mkold.kvm.powerpc.radix.pte import pte_leaf, pte_pfn, pte_present
from mkold.lang import NULL, READ_ONCE, Ptr, kernel, u64
from mkold.mm.fault.memory import get_user
from mkold.mm.mm_types import PAGE_SHIFT, PFN_ERR_FAULT, PFN_ERR_RETRY

# What a walk of L1's table ends with.
WALK_FOUND = 0
WALK_MISS = 1  # L1 has no such page for its guest, or no such table
WALK_RETRY = 2  # the host has no frame for L1's table right now

# kvm.arch.l1_ptcr: where L1's partition table is; a table's root and how many levels it has.
PTCR_SHIFT = 12
PTCR_VALID = 1
ROOT_SHIFT = 12
LEVELS_MASK = 63


@kernel
def kvm_read_guest_word(kvm: Ptr[Kvm], gfn: u64, offset: u64) -> tuple[u64, u64]:
    """Word ``offset`` of L1's page ``gfn``: failed (as ``get_user``), word."""
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return PFN_ERR_FAULT, 0
    failed, word = get_user(kvm.mm, gfn_to_hva(slot, gfn), offset)
    return failed, word


@kernel
def kvmppc_mmu_walk_radix_tree(
    kvm: Ptr[Kvm], gr_to_hr: u64, n_gfn: u64
) -> tuple[u64, u64, u64]:
    """Look ``n_gfn`` up in the table that L1 keeps at ``gr_to_hr``.

    Returns
    -------
    WALK_FOUND, WALK_MISS or WALK_RETRY; L1's leaf; log2 of the pages that it maps
    """
    shift = (gr_to_hr & LEVELS_MASK) * PAGE_SHIFT
    table = gr_to_hr >> ROOT_SHIFT
    if n_gfn >> shift:
        return WALK_MISS, 0, 0
    while shift > 0:
        shift -= PAGE_SHIFT
        index = (n_gfn >> shift) & ((1 << PAGE_SHIFT) - 1)
        failed, entry = kvm_read_guest_word(kvm, table, index)
        if failed:
            return WALK_RETRY if failed == PFN_ERR_RETRY else WALK_MISS, 0, 0
        if not pte_present(entry):
            return WALK_MISS, 0, 0
        if pte_leaf(entry):
            return WALK_FOUND, entry, shift
        table = pte_pfn(entry)
    return WALK_MISS, 0, 0


@kernel
def kvmhv_update_ptbl_cache(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest]) -> None:
    """Under ``tlb_lock``: learn anew from L1's partition table where the guest's table is."""
    ptcr = READ_ONCE(kvm.arch.l1_ptcr)
    gp.l1_gr_to_hr = 0
    if not ptcr & PTCR_VALID:
        return
    while True:
        failed, word = kvm_read_guest_word(kvm, ptcr >> PTCR_SHIFT, gp.l1_lpid)
        if failed != PFN_ERR_RETRY or READ_ONCE(kvm.stop):
            gp.l1_gr_to_hr = word
            return
