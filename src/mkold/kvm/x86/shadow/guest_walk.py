"""Reading the guest's own tables: those of its guest's memory (EPT or NPT).

Rules
-----
* L0 reads them as its own process's memory, with no lock.
* NPT has accessed and dirty bits: the walk sets A in each of the guest's entries, and D in the
  leaf for a write, as the hardware would. A leaf that is not dirty lets nobody write: the
  write's walk makes it dirty. L1's EPT here does without: these bits are left alone.
* A table is a page of the guest's memory, of as many entries as a table of KVM's has here; an
  entry has R, W and X in its low bits and a page number of the guest's from bit 12 up.

Source: arch/x86/kvm/mmu/paging_tmpl.h (``FNAME(walk_addr_generic)``); Intel SDM volume 3, 30.3.
Known limits: no large pages of the guest's; its entries are not looked at again under
``mmu_lock`` (``FNAME(gpte_changed)``), as nobody changes them while another vCPU faults.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.x86.asm.kvm_host import GuestWalker, Kvm, Vcpu
from mkold.kvm.x86.mmu.spte import (
    EPT,
    PG_LEVEL_4K,
    PT_ACCESS_MASK,
    PT_WRITABLE_MASK,
    ROOT_LEVEL,
    SPTE_BASE_ADDR_MASK,
    SPTE_BASE_SHIFT,
    spte_index,
)
from mkold.lang import NULL, Ptr, addr, kernel, u64
from mkold.mm.fault.memory import get_user
from mkold.mm.fault.user import cmpxchg_user
from mkold.mm.mm_types import PFN_ERR_FAULT, PFN_ERR_RETRY

# What a walk ends with.
WALK_FOUND = 0
WALK_MISS = 1  # the guest has no such page for its guest, or no such table
WALK_RETRY = 2  # the host has no frame for the table right now, or an entry has changed

PT_GUEST_ACCESSED_MASK = 1 << 5
PT_GUEST_DIRTY_MASK = 1 << 6


@kernel
def gpte_present(gpte: u64) -> bool:
    """Whether a leaf of the guest's may be followed before anybody asks for it: it was used."""
    if EPT:
        return (gpte & PT_ACCESS_MASK) != 0
    return (gpte & PT_ACCESS_MASK) != 0 and (gpte & PT_GUEST_ACCESSED_MASK) != 0


@kernel
def gpte_access(gpte: u64) -> u64:
    """What a leaf of the guest's allows as it is (``FNAME(protect_clean_gpte)``)."""
    if EPT or gpte & PT_GUEST_DIRTY_MASK:
        return gpte & PT_ACCESS_MASK
    return gpte & PT_ACCESS_MASK & ~PT_WRITABLE_MASK


@kernel
def kvm_read_guest_word(kvm: Ptr[Kvm], gfn: u64, offset: u64) -> tuple[u64, u64]:
    """Word ``offset`` of the guest's page ``gfn``: failed (as ``get_user``), word."""
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return PFN_ERR_FAULT, 0
    failed, word = get_user(kvm.mm, gfn_to_hva(slot, gfn), offset)
    return failed, word


@kernel
def update_accessed_dirty_bits(
    kvm: Ptr[Kvm], walker: Ptr[GuestWalker], n_gfn: u64, write: u64
) -> u64:
    """The entries of a walk were used; 0, or 1: one is not what the walk has read, or the host
    has no frame for it."""
    for level in range(ROOT_LEVEL, 0, -1):
        old = walker.ptes[level]
        want: u64 = PT_GUEST_ACCESSED_MASK
        if level == PG_LEVEL_4K and write:
            want |= PT_GUEST_DIRTY_MASK
        if want & ~old:
            gfn = walker.table_gfn[level]
            hva = gfn_to_hva(gfn_to_memslot(kvm, gfn), gfn)
            failed, seen = cmpxchg_user(kvm.mm, hva, spte_index(n_gfn, level), old, old | want)
            if failed or seen != old:
                return 1
            walker.ptes[level] = old | want
    return 0


@kernel
def walk_guest_tables(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_gfn: u64, write: u64) -> u64:
    """Look ``n_gfn`` up: ``vcpu.arch.walker`` says by which tables and entries, the guest's
    page, and what access it has."""
    walker = addr(vcpu.arch.walker)
    gfn = kvm.arch.shadow.l1_root
    access: u64 = PT_ACCESS_MASK
    for level in range(ROOT_LEVEL, 0, -1):
        walker.table_gfn[level] = gfn
        failed, entry = kvm_read_guest_word(kvm, gfn, spte_index(n_gfn, level))
        if failed:
            return WALK_RETRY if failed == PFN_ERR_RETRY else WALK_MISS
        if not entry & PT_ACCESS_MASK:
            return WALK_MISS
        walker.ptes[level] = entry
        access &= entry
        gfn = (entry & SPTE_BASE_ADDR_MASK) >> SPTE_BASE_SHIFT
    walker.gfn = gfn
    if write and not access & PT_WRITABLE_MASK:
        return WALK_MISS
    if not EPT and update_accessed_dirty_bits(kvm, walker, n_gfn, write):
        return WALK_RETRY
    walker.pte_access = access & gpte_access(walker.ptes[PG_LEVEL_4K])
    return WALK_FOUND
