"""Reading the guest's own tables: those of its guest's memory (EPT).

Rules
-----
* L0 reads them as its own process's memory, with no lock. Accessed and dirty bits of the
  guest's tables are left alone.
* A table is a page of the guest's memory, of as many entries as a table of KVM's has here; an
  entry has R, W and X in its low bits and a page number of the guest's from bit 12 up.

Source: arch/x86/kvm/mmu/paging_tmpl.h (``FNAME(walk_addr_generic)``); Intel SDM volume 3, 30.3.
Known limits: no large pages of the guest's, and its entries allow all or nothing; they are not
looked at again under ``mmu_lock`` (``FNAME(gpte_changed)``), as nothing changes them here.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_hva, gfn_to_memslot
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.x86.mmu.spte import (
    PT_ACCESS_MASK,
    ROOT_LEVEL,
    SPTE_BASE_ADDR_MASK,
    SPTE_BASE_SHIFT,
    spte_index,
)
from mkold.lang import NULL, Ptr, addr, kernel, u64
from mkold.mm.fault.memory import get_user
from mkold.mm.mm_types import PFN_ERR_FAULT, PFN_ERR_RETRY

# What a walk ends with.
WALK_FOUND = 0
WALK_MISS = 1  # the guest has no such page for its guest, or no such table
WALK_RETRY = 2  # the host has no frame for the table right now


@kernel
def kvm_read_guest_word(kvm: Ptr[Kvm], gfn: u64, offset: u64) -> tuple[u64, u64]:
    """Word ``offset`` of the guest's page ``gfn``: failed (as ``get_user``), word."""
    slot = gfn_to_memslot(kvm, gfn)
    if slot == NULL:
        return PFN_ERR_FAULT, 0
    failed, word = get_user(kvm.mm, gfn_to_hva(slot, gfn), offset)
    return failed, word


@kernel
def walk_guest_tables(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_gfn: u64) -> u64:
    """Look ``n_gfn`` up: ``vcpu.arch.walker`` says by which tables, and the guest's page."""
    walker = addr(vcpu.arch.walker)
    gfn = kvm.arch.shadow.l1_root
    for level in range(ROOT_LEVEL, 0, -1):
        walker.table_gfn[level] = gfn
        failed, entry = kvm_read_guest_word(kvm, gfn, spte_index(n_gfn, level))
        if failed:
            return WALK_RETRY if failed == PFN_ERR_RETRY else WALK_MISS
        if not entry & PT_ACCESS_MASK:
            return WALK_MISS
        gfn = (entry & SPTE_BASE_ADDR_MASK) >> SPTE_BASE_SHIFT
    walker.gfn = gfn
    return WALK_FOUND
