"""The books of a VM that has guests of its own, looked through when nobody runs.

Rules
-----
* A shadow leaf maps the frame that the VM's own leaf for L1's page maps; it allows no more
  than that, and has R and C only where that has.
* L1's table names that page; so L1 has told of what it took away. Where the host has no frame
  to bring that table back from swap, the leaf is not looked at.
* The reverse map of that page has an entry for the leaf.
* The nodes of the reverse map are those in lists, each in one.
* No reference is left but the table's, and one of each vCPU that runs the guest.

Known limits: of L0's mistakes at tables it sees those that leaves show.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import KVM_MAX_NESTED_GUESTS, Kvm, KvmNestedGuest, Vcpu
from mkold.kvm.powerpc.nested.guest import NODES, kvmhv_find_nested
from mkold.kvm.powerpc.nested.l1_memory import WALK_MISS, WALK_RETRY, kvmppc_mmu_walk_radix_tree
from mkold.kvm.powerpc.nested.rmap import nest_rmap, nest_rmap_has, nest_rmap_next
from mkold.kvm.powerpc.nested.shadow import find_kvm_nested_guest_pte
from mkold.kvm.powerpc.nested.spread import nest_rmapp
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    _PAGE_DIRTY,
    _PAGE_EXEC,
    _PAGE_READ,
    _PAGE_WRITE,
    MAX_GFN,
    level_pages,
    pte_leaf,
    pte_pfn,
)
from mkold.kvm.powerpc.radix.walk import radix_walk, walk_boundary
from mkold.kvm.tlb import kvm_vcpu_of
from mkold.lang import NULL, READ_ONCE, Ptr, addr, cast, kernel, u64
from mkold.mm.slab import kmem_cache_nr_free

STATUS = _PAGE_READ | _PAGE_WRITE | _PAGE_EXEC | _PAGE_ACCESSED | _PAGE_DIRTY

NESTED_OK = 0
NESTED_NOT_L1S = 11
NESTED_NOT_THE_FRAME = 12
NESTED_MORE_BITS = 13
NESTED_NOT_IN_RMAP = 14
NESTED_NODES = 15
NESTED_REFERENCES = 16


@kernel
def audit_shadow_leaf(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest], n_gfn: u64) -> u64:
    """The shadow leaf, if any, whose first page is ``n_gfn``."""
    found, l2_pte, l2_shift = kvmppc_mmu_walk_radix_tree(kvm, gp.l1_gr_to_hr, n_gfn)
    # Only now, as the host may have taken the page away to bring L1's table back.
    _ptep, n_pte, _level = find_kvm_nested_guest_pte(gp, n_gfn)
    if found == WALK_RETRY or not pte_leaf(n_pte):
        return NESTED_OK
    if found == WALK_MISS:
        return NESTED_NOT_L1S
    gfn = pte_pfn(l2_pte) + (n_gfn & ((1 << l2_shift) - 1))
    _ptep, pte, level = radix_walk(READ_ONCE(kvm.arch.pgtable), gfn)
    offset = gfn & (level_pages(level) - 1)
    if not pte_leaf(pte) or pte_pfn(pte) + offset != pte_pfn(n_pte):
        return NESTED_NOT_THE_FRAME
    if (n_pte & ~(pte & l2_pte)) & STATUS:
        return NESTED_MORE_BITS
    rmapp = nest_rmapp(kvm, gfn - offset)
    if rmapp == NULL or not nest_rmap_has(rmapp.value, nest_rmap(gp.l1_lpid, n_gfn)):
        return NESTED_NOT_IN_RMAP
    return NESTED_OK


@kernel
def audit_shadow(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest]) -> u64:
    """All leaves of one guest."""
    n_gfn: u64 = 0
    while n_gfn < MAX_GFN:
        _ptep, n_pte, level = find_kvm_nested_guest_pte(gp, n_gfn)
        if pte_leaf(n_pte):
            wrong = audit_shadow_leaf(kvm, gp, n_gfn)
            if wrong:
                return wrong
        n_gfn = walk_boundary(n_gfn, level)
    return NESTED_OK


@kernel
def nodes_in_lists(kvm: Ptr[Kvm]) -> u64:
    """Nodes that the reverse map of all memslots holds."""
    total: u64 = 0
    for i in range(kvm.n_slots):
        slot = addr(kvm.slots[i])
        for at in range(slot.npages):
            word: u64 = slot.rmap[at]
            while word:
                _entry, word, node = nest_rmap_next(word)
                total += node != NULL
    return total


@kernel
def vcpus_of(kvm: Ptr[Kvm], gp: Ptr[KvmNestedGuest]) -> u64:
    """How many vCPUs run the guest."""
    total: u64 = 0
    for i in range(kvm.n_vcpus):
        total += cast(Ptr[Vcpu], kvm_vcpu_of(kvm, i)).arch.nested == gp
    return total


@kernel
def kvm_nested_audit(kvm: Ptr[Kvm]) -> u64:
    """The first rule that is broken (``NESTED_*``), or 0."""
    for l1_lpid in range(1, KVM_MAX_NESTED_GUESTS):
        gp = kvmhv_find_nested(kvm, l1_lpid)
        if gp != NULL:
            wrong = audit_shadow(kvm, gp)
            if wrong:
                return wrong
            if gp.refcnt != 1 + vcpus_of(kvm, gp):
                return NESTED_REFERENCES
    cache = addr(kvm.arch.nested_caches[NODES])
    if cache.nr_objects - kmem_cache_nr_free(cache) != nodes_in_lists(kvm):
        return NESTED_NODES
    return NESTED_OK
