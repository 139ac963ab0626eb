"""The books of a stopped VM whose tables are the TDP MMU's.

Rules
-----
* A root that is valid has a reference of each vCPU that has it, and one of the VM's.
* No entry is frozen, and what is not present holds what such an entry holds, and no more.
* An entry that is no leaf points to a table of the next level and of its own pages.
* A leaf maps the host's frame, and may be written to only if the host's entry may; where it is
  access-tracked, it is not young and not writable.
* There are as many tables and leaves as were counted.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.tlb import kvm_vcpu_of
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu, sp_spt, spt_sp
from mkold.kvm.x86.mmu.spte import (
    PG_LEVEL_1G,
    PG_LEVEL_4K,
    PT_ACCESS_MASK,
    ROOT_LEVEL,
    SHADOW_NONPRESENT_VALUE,
    is_access_track_spte,
    is_accessed_spte,
    is_shadow_present_pte,
    is_writable_pte,
    level_shift,
    spte_to_child_pt,
    spte_to_pfn,
)
from mkold.kvm.x86.tdp.iter import gfn_behind, is_leaf, tdp_mmu_max_gfn, tdp_walk
from mkold.lang import NULL, READ_ONCE, Ptr, cast, kernel, u64
from mkold.mm.mm_types import PTE_PRESENT, PTE_WRITE, Mm
from mkold.mm.pgtable import pte_offset, pte_pfn

AUDIT_OK = 0
AUDIT_REFERENCES = 1
AUDIT_NOT_CLEAN = 2
AUDIT_NOT_THE_TABLE = 3
AUDIT_NOT_THE_FRAME = 4
AUDIT_TRACKED = 5
AUDIT_COUNTS = 6


@kernel
def audit_leaf(kvm: Ptr[Kvm], spte: u64, gfn: u64) -> u64:
    """Whether a leaf is what the host's page table allows."""
    if is_access_track_spte(spte) and (is_accessed_spte(spte) or is_writable_pte(spte)):
        return AUDIT_TRACKED
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return AUDIT_NOT_THE_FRAME
    mm: Ptr[Mm] = kvm.mm
    ptep = pte_offset(mm, gfn_to_hva(slot, gfn))
    if ptep == NULL:
        return AUDIT_NOT_THE_FRAME
    pte = READ_ONCE(ptep.value)
    right = (pte & PTE_PRESENT) and pte_pfn(pte) == spte_to_pfn(spte)
    if not right or (is_writable_pte(spte) and not (pte & PTE_WRITE)):
        return AUDIT_NOT_THE_FRAME
    return AUDIT_OK


@kernel
def audit_entry(kvm: Ptr[Kvm], spte: u64, gfn: u64, level: u64) -> u64:
    """What is wrong with an entry of ``gfn`` at ``level``; a large leaf's first page stands for
    the leaf."""
    if not is_shadow_present_pte(spte):
        return AUDIT_NOT_CLEAN if spte != SHADOW_NONPRESENT_VALUE else AUDIT_OK
    if is_leaf(spte, level):
        return audit_leaf(kvm, spte, gfn)
    sp = spt_sp(spte_to_child_pt(spte))
    own = (gfn >> level_shift(level)) << level_shift(level)
    wrong = sp.level != level - 1 or sp.gfn != own or (spte & PT_ACCESS_MASK) != PT_ACCESS_MASK
    return AUDIT_NOT_THE_TABLE if wrong else AUDIT_OK


@kernel
def audit_level(kvm: Ptr[Kvm], root: Ptr[KvmMmuPage], level: u64) -> tuple[u64, u64, u64]:
    """Look at all entries of ``level`` below one root.

    Returns
    -------
    what is wrong, tables of the level below, leaves
    """
    gfn: u64 = 0
    tables: u64 = 0
    leaves: u64 = 0
    while gfn < tdp_mmu_max_gfn():
        _sptep, spte, met = tdp_walk(sp_spt(root), gfn, level)
        if met == level:
            wrong = audit_entry(kvm, spte, gfn, level)
            if wrong:
                return wrong, tables, leaves
            leaf = is_leaf(spte, level)
            leaves += leaf
            tables += is_shadow_present_pte(spte) and not leaf
        gfn = gfn_behind(gfn, met)
    return AUDIT_OK, tables, leaves


@kernel
def audit_references(kvm: Ptr[Kvm], root: Ptr[KvmMmuPage]) -> u64:
    """Whether a root has the references that it should have."""
    expected: u64 = 0
    if not root.invalid or root.tdp_mmu_scheduled_root_to_zap:
        expected = 1
    for i in range(kvm.n_vcpus):
        expected += cast(Ptr[Vcpu], kvm_vcpu_of(kvm, i)).arch.root == root
    return AUDIT_OK if root.tdp_mmu_root_count == expected else AUDIT_REFERENCES


@kernel
def audit_roots(kvm: Ptr[Kvm], level: u64) -> tuple[u64, u64]:
    """Look at all entries of ``level``: what is wrong, and tables of the level below; a leaf
    too many or too few is wrong."""
    tables: u64 = 0
    leaves: u64 = 0
    root: Ptr[KvmMmuPage] = kvm.arch.tdp_mmu_roots
    while root != NULL:
        wrong, more_tables, more_leaves = audit_level(kvm, root, level)
        if wrong:
            return wrong, tables
        tables += more_tables
        leaves += more_leaves
        root = root.link
    counted = level < ROOT_LEVEL and level <= PG_LEVEL_1G
    if counted and leaves != kvm.arch.pages[level - PG_LEVEL_4K]:
        return AUDIT_COUNTS, tables
    return AUDIT_OK, tables


@kernel
def kvm_tdp_mmu_audit(kvm: Ptr[Kvm]) -> u64:
    """Look through the books of a stopped VM: the first rule that is broken, or 0."""
    tables: u64 = 0
    root: Ptr[KvmMmuPage] = kvm.arch.tdp_mmu_roots
    while root != NULL:
        wrong = audit_references(kvm, root)
        if wrong:
            return wrong
        tables += 1
        root = root.link
    for level in range(PG_LEVEL_4K, ROOT_LEVEL + 1):
        wrong, below = audit_roots(kvm, level)
        if wrong:
            return wrong
        tables += below
    return AUDIT_OK if tables == kvm.arch.tdp_mmu_pages else AUDIT_COUNTS
