"""Seeded faults of an x86 guest that has a guest, which only its recordings catch."""

from __future__ import annotations

from validate_mutants import Mutant

from mkold.ir.variant import Set, Skip
from mkold.kvm.memslots import gfn_to_memslot
from mkold.kvm.x86.asm.kvm_host import GuestWalker, Kvm
from mkold.kvm.x86.mmu.spte import (
    SHADOW_ACCESSED_MASK,
    SHADOW_HOST_WRITABLE_MASK,
    spte_to_pfn,
)
from mkold.kvm.x86.shadow.map import make_indirect_spte
from mkold.lang import Ptr, kernel, u64


@kernel
def rmaps_are_old(kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64) -> u64:
    """``age_rmaps`` that sees none."""
    return 0


@kernel
def synced_old(kvm: Ptr[Kvm], gfn: u64, old: u64, access: u64) -> u64:
    """``synced_spte`` as it was up to 6.12."""
    writable: u64 = (old & SHADOW_HOST_WRITABLE_MASK) != 0
    slot = gfn_to_memslot(kvm, gfn)
    spte = make_indirect_spte(kvm, slot, gfn, spte_to_pfn(old), access, writable, 0)
    return spte & ~SHADOW_ACCESSED_MASK


@kernel
def synced_young(kvm: Ptr[Kvm], gfn: u64, old: u64, access: u64) -> u64:
    """``synced_spte`` as it is since 6.13."""
    writable: u64 = (old & SHADOW_HOST_WRITABLE_MASK) != 0
    slot = gfn_to_memslot(kvm, gfn)
    return make_indirect_spte(kvm, slot, gfn, spte_to_pfn(old), access, writable, 0)


@kernel
def walk_leaves_no_mark(kvm: Ptr[Kvm], walker: Ptr[GuestWalker], n_gfn: u64, write: u64) -> u64:
    """``update_accessed_dirty_bits`` that leaves them alone."""
    return 0


@kernel
def any_is_present(gpte: u64) -> bool:
    """``gpte_present`` that does not ask for A."""
    return (gpte & 7) != 0


OLD, NEW, COW = "x86-nested-6.12", "x86-nested-7.2", "x86-nested-7.2-cow"
X86_MUTANTS = (
    Mutant(
        "pages of L2's are never young", stand_in=("age_rmaps", rmaps_are_old), recording=OLD
    ),
    Mutant("L1's changes are not followed", (Skip("kvm_mmu_sync_roots"),), recording=OLD),
    Mutant(
        "L1 writes to its tables unseen", (Skip("kvm_vcpu_write_protect_gfn"),), recording=OLD
    ),
    Mutant(
        "what is followed anew is young", stand_in=("synced_spte", synced_young), recording=OLD
    ),
    Mutant("what is followed anew is old", stand_in=("synced_spte", synced_old), recording=NEW),
    Mutant(
        "a walk sets no A in L1's table",
        stand_in=("update_accessed_dirty_bits", walk_leaves_no_mark),
        recording=OLD,
    ),
    Mutant(
        "what L1 made old stays mapped",
        stand_in=("gpte_present", any_is_present),
        recording=OLD,
    ),
    Mutant("L2 keeps what the host took", (Skip("kvm_rmap_zap_gfn_range"),), recording=OLD),
    Mutant(
        "a fault that is tried again marks the page",
        (Set("RELEASE_UNUSED", 0), Set("KVM_FAULT_MARKS", 1)),
        recording=COW,
    ),
    Mutant("all of a table is followed anew", (Set("LINUX_VERSION", 603),), recording=OLD),
    Mutant(
        "a fault looks not ahead",
        (Set("PTE_PREFETCH_NUM", 1),),
        recording="x86-shadow-7.2-prefetch",
    ),
    Mutant(
        "a fault looks ahead by one page",
        (Set("PTE_PREFETCH_NUM", 2),),
        recording="x86-shadow-7.2-prefetch",
    ),
)
