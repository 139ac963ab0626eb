"""The books of the shadow MMU, looked through when nobody runs.

Rules
-----
* Nothing is locked: no word has the bit, no vCPU is in tables.
* In a chain only the head may be partial, and the counts are right.
* What a page's word lists are present leaves that map it, and each present leaf is listed once.
* What a table's ``parent_ptes`` lists points to it, and each SPTE that points to a table is
  listed there once. Only a root need not be listed.
* Tables are as many as they are said to be; those that are indirect too.
* A leaf maps the frame that the host's page table has.
* A leaf that follows an entry of the guest's own, and is in step with it, maps the same page,
  and allows no more.

Source: arch/x86/kvm/mmu/mmu_audit.c, Linux 5.10, which did much of this in a running kernel.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.tlb import kvm_vcpu_of
from mkold.kvm.types import READING_SHADOW_PAGE_TABLES, MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, sp_spt
from mkold.kvm.x86.mmu.page_hash import sp_direct
from mkold.kvm.x86.mmu.spte import (
    PG_LEVEL_4K,
    SHADOW_NONPRESENT_VALUE,
    SPTE_BASE_ADDR_MASK,
    SPTE_BASE_SHIFT,
    SPTE_ENT_PER_PAGE,
    is_access_track_spte,
    is_last_spte,
    is_shadow_present_pte,
    is_writable_pte,
    spte_to_pfn,
)
from mkold.kvm.x86.shadow.guest_walk import gpte_access, gpte_present
from mkold.kvm.x86.shadow.memslot_rmap import KVM_MAX_HUGEPAGE_LEVEL, rmap_of_gfn, slot_pages
from mkold.kvm.x86.shadow.pages import (
    kvm_mmu_page_get_gfn,
    lru_sp,
    spte_to_child_sp,
)
from mkold.kvm.x86.shadow.rmap import (
    KVM_RMAP_LOCKED,
    KVM_RMAP_MANY,
    PTE_LIST_EXT,
    rmap_desc,
    rmap_sptep,
)
from mkold.lang import NULL, READ_ONCE, Ptr, addr, cast, kernel, u64
from mkold.mm.fault.user import user_word
from mkold.mm.mm_types import PTE_PRESENT, PTE_WRITE, Mm
from mkold.mm.pgtable import pte_offset, pte_pfn

AUDIT_OK = 0
AUDIT_LOCKED = 1
AUDIT_CHAIN = 2  # a desc is partial, or says a wrong count
AUDIT_NOT_LISTED = 3  # an SPTE is not in its chain, or twice
AUDIT_LISTED = 4  # chains list more than there is
AUDIT_NOT_THE_FRAME = 5
AUDIT_TRACKED = 6  # an access-tracked leaf that may be written to
AUDIT_COUNTS = 7
AUDIT_NOT_CLEAN = 8  # what is not present holds something else
AUDIT_NOT_IN_STEP = 9


@kernel
def audit_chain(val: u64, sptep: Ptr[u64]) -> tuple[u64, u64, u64]:
    """One word: what is wrong, how many SPTEs it lists, how often ``sptep`` is among them."""
    if val & KVM_RMAP_LOCKED:
        return AUDIT_LOCKED, 0, 0
    if not val & KVM_RMAP_MANY:
        return AUDIT_OK, val != 0, val != 0 and rmap_sptep(val) == sptep
    desc = rmap_desc(val)
    said: u64 = desc.tail_count + desc.spte_count
    n: u64 = 0
    found: u64 = 0
    while desc != NULL:
        here: u64 = desc.spte_count
        behind: u64 = desc.tail_count
        if here == 0 or here > PTE_LIST_EXT or n + here + behind != said:
            return AUDIT_CHAIN, 0, 0
        if n != 0 and here != PTE_LIST_EXT:
            return AUDIT_CHAIN, 0, 0
        for i in range(PTE_LIST_EXT):
            if (desc.sptes[i] != 0) != (i < here):
                return AUDIT_CHAIN, 0, 0
            found += desc.sptes[i] == cast(u64, sptep) and i < here
        n += here
        desc = desc.more
    return AUDIT_OK, n, found


@kernel
def audit_mapping(kvm: Ptr[Kvm], gfn: u64, spte: u64) -> u64:
    """Whether a leaf is what the host's page table allows; of a large one, its first page."""
    if is_access_track_spte(spte) and is_writable_pte(spte):
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
def read_own_word(kvm: Ptr[Kvm], gfn: u64, offset: u64) -> tuple[u64, u64]:
    """Word ``offset`` of the guest's page ``gfn``, looked at only: failed, word."""
    slot = gfn_to_memslot(kvm, gfn)
    mm: Ptr[Mm] = kvm.mm
    if slot == NULL or pte_offset(mm, gfn_to_hva(slot, gfn)) == NULL:
        return 1, 0
    hva = gfn_to_hva(slot, gfn)
    pte = READ_ONCE(pte_offset(mm, hva).value)
    if not pte & PTE_PRESENT:
        return 1, 0
    return 0, READ_ONCE(user_word(mm, hva, pte, offset).value)


@kernel
def audit_step(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage], index: u64, spte: u64) -> u64:
    """Whether a leaf allows what the guest's own entry does, where they are in step."""
    if sp_direct(sp) or sp.unsync or sp.level != PG_LEVEL_4K:
        return AUDIT_OK
    failed, gpte = read_own_word(kvm, sp.gfn, index)
    if failed:
        return AUDIT_OK
    gfn = (gpte & SPTE_BASE_ADDR_MASK) >> SPTE_BASE_SHIFT
    right = gpte_present(gpte) and gfn == kvm_mmu_page_get_gfn(sp, index)
    if not right or (is_writable_pte(spte) and not is_writable_pte(gpte_access(gpte))):
        return AUDIT_NOT_IN_STEP
    return AUDIT_OK


@kernel
def audit_entry(kvm: Ptr[Kvm], sp: Ptr[KvmMmuPage], index: u64) -> tuple[u64, u64]:
    """One SPTE: what is wrong, and whether it is a leaf that is present."""
    sptep = sp_spt(sp) + index
    spte = READ_ONCE(sptep.value)
    if not is_shadow_present_pte(spte):
        return AUDIT_NOT_CLEAN if spte != SHADOW_NONPRESENT_VALUE else AUDIT_OK, 0
    leaf: u64 = is_last_spte(spte, sp.level)
    if leaf:
        gfn = kvm_mmu_page_get_gfn(sp, index)
        wrong, _n, times = audit_chain(rmap_of_gfn(kvm, gfn, sp.level).value, sptep)
        if not wrong and times == 1:
            wrong = audit_mapping(kvm, gfn, spte)
            if not wrong:
                wrong = audit_step(kvm, sp, index, spte)
    else:
        wrong, _n, times = audit_chain(spte_to_child_sp(spte).parent_ptes, sptep)
    if not wrong and times != 1:
        wrong = AUDIT_NOT_LISTED
    return wrong, leaf


@kernel
def audit_pages(kvm: Ptr[Kvm]) -> tuple[u64, u64]:
    """All tables: what is wrong, and how many leaves they have."""
    shadow = addr(kvm.arch.shadow)
    n: u64 = 0
    indirect: u64 = 0
    leaves: u64 = 0
    surplus: u64 = 0  # entries that point to tables, less those that are listed
    at = shadow.active_mmu_pages.next
    while at != addr(shadow.active_mmu_pages):
        sp = lru_sp(at)
        wrong, listed, _times = audit_chain(sp.parent_ptes, cast(Ptr[u64], NULL))
        surplus -= listed
        for i in range(SPTE_ENT_PER_PAGE):
            if not wrong:
                wrong, leaf = audit_entry(kvm, sp, i)
                leaves += leaf
                present: u64 = is_shadow_present_pte(READ_ONCE(sp_spt(sp)[i]))
                surplus += present - leaf
        if wrong:
            return wrong, leaves
        n += 1
        indirect += not sp_direct(sp)
        at = at.next
    if surplus != 0:
        return AUDIT_LISTED, leaves
    same = n == shadow.n_used_mmu_pages and indirect == kvm.arch.indirect_shadow_pages
    return AUDIT_OK if same else AUDIT_COUNTS, leaves


@kernel
def audit_rmaps(slot: Ptr[MemorySlot]) -> tuple[u64, u64]:
    """All words of a slot: what is wrong, and how many SPTEs they list."""
    total: u64 = 0
    n_words: u64 = 0
    for level in range(PG_LEVEL_4K, KVM_MAX_HUGEPAGE_LEVEL + 1):
        n_words += slot_pages(slot, level)
    for i in range(n_words):
        wrong, n, _times = audit_chain(slot.rmap[i], cast(Ptr[u64], NULL))
        if wrong:
            return wrong, total
        total += n
    return AUDIT_OK, total


@kernel
def kvm_shadow_mmu_audit(kvm: Ptr[Kvm]) -> u64:
    """Look through the books of a stopped VM: the first rule that is broken, or 0."""
    for i in range(kvm.n_vcpus):
        if kvm_vcpu_of(kvm, i).mode == READING_SHADOW_PAGE_TABLES:
            return AUDIT_LOCKED
    wrong, leaves = audit_pages(kvm)
    listed: u64 = 0
    for i in range(kvm.n_slots):
        slot = addr(kvm.slots[i])
        if not wrong and slot.rmap != NULL:
            wrong, n = audit_rmaps(slot)
            listed += n
    if wrong:
        return wrong
    return AUDIT_OK if listed == leaves else AUDIT_LISTED
