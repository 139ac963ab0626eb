"""Seeded faults about huge pages, each with the recording whose kernel's answers show it."""

from __future__ import annotations

from validate_mutants import Mutant

from mkold.ir.variant import Set, Skip
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K
from mkold.kvm.x86.shadow.age import kvm_age_rmap
from mkold.kvm.x86.shadow.memslot_rmap import KVM_MAX_HUGEPAGE_LEVEL, gfn_to_rmap
from mkold.kvm.x86.tdp.iter import level_shift
from mkold.lang import READ_ONCE, Ptr, kernel, u64
from mkold.mm.contpte import CONT_PTES, contpte_align_down
from mkold.mm.mm_types import PTE_CONT, Mm
from mkold.mm.pgtable import __ptep_test_and_clear_young, set_pte

SHADOW, ARM64, PSERIES = "x86-shadow-6.12-huge", "arm64-6.12-huge", "pseries-6.12-huge"
CONT = "arm64-soft-6.12-contpte"


@kernel
def one_page_too_far(gfn: u64, level: u64) -> u64:
    """``gfn_behind`` that leaves out the page behind a large leaf."""
    shift = level_shift(level)
    return (((gfn >> shift) + 1) << shift) + (level > 1)


@kernel
def last_word_left_out(slot: Ptr[MemorySlot], start: u64, end: u64, clear: u64) -> u64:
    """``kvm_age_rmap_range`` that leaves out the last of two large pages or more."""
    young: u64 = 0
    for level in range(PG_LEVEL_4K, KVM_MAX_HUGEPAGE_LEVEL + 1):
        first = gfn_to_rmap(slot, start, level)
        n = gfn_to_rmap(slot, end - 1, level) - first + 1
        if level > PG_LEVEL_4K and n > 1:
            n -= 1
        for i in range(n):
            young |= kvm_age_rmap(first + i, clear)
    return young


@kernel
def always_base_pages(mm: Ptr[Mm], hva: u64) -> u64:
    """``host_pfn_mapping_level`` of a host without huge pages."""
    return 0


@kernel
def as_the_memslot_says(
    kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64, level: u64
) -> u64:
    """``transparent_hugepage_adjust`` that does not look at the process's table."""
    return level


@kernel
def a_large_leaf(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], slot: Ptr[MemorySlot], gfn: u64) -> u64:
    """``find_kvm_host_level`` that does not look at the process's table."""
    return 1


@kernel
def each_keeps_its_own(ptep: Ptr[u64], cont: u64) -> None:
    """``contpte_convert`` that gathers nothing."""
    block = contpte_align_down(ptep)
    for i in range(CONT_PTES):
        set_pte(block + i, (READ_ONCE(block[i]) & ~PTE_CONT) | cont)


@kernel
def one_of_a_block(ptep: Ptr[u64]) -> bool:
    """``contpte_ptep_test_and_clear_young`` that leaves the others alone."""
    return __ptep_test_and_clear_young(ptep)


@kernel
def its_own_bits(ptep: Ptr[u64]) -> u64:
    """``ptep_get`` that does not look at the rest of the block."""
    return READ_ONCE(ptep.value)


HUGE_MUTANTS = (
    Mutant(
        "a block's entries keep their bits",
        stand_in=("contpte_convert", each_keeps_its_own),
        recording=CONT,
    ),
    Mutant("no block is folded again", (Skip("contpte_try_fold"),), recording=CONT),
    Mutant("no block is unfolded", (Skip("contpte_try_unfold"),), recording=CONT),
    Mutant("an access fault is one entry's", (Skip("contpte_access_fault"),), recording=CONT),
    Mutant(
        "DAMON clears one entry of a block",
        stand_in=("contpte_ptep_test_and_clear_young", one_of_a_block),
        recording=CONT,
    ),
    Mutant(
        "DAMON reads one entry of a block", stand_in=("ptep_get", its_own_bits), recording=CONT
    ),
    Mutant(
        "mprotect goes page by page", (Set("MPROTECT_BATCH", 0),), recording="arm64-7.2-huge"
    ),
    Mutant(
        "what mprotect changes at once is not folded",
        (Skip("contpte_set_ptes"),),
        recording="arm64-7.2-huge",
    ),
    Mutant(
        "zeros keep their frames",
        (Set("SPLIT_ZERO_PAGES", 0),),
        recording="x86-6.12-huge-zeros",
    ),
    Mutant(
        "what was split is not young as a table",
        (Skip("pmd_mkyoung"),),
        recording="x86-6.1-huge-zeros",
    ),
    Mutant("an empty table stays", (Set("PT_RECLAIM", 0),), recording="x86-7.2-huge"),
    Mutant(
        "what can't be written is not collapsed",
        (Set("COLLAPSE_READ_ONLY", 0),),
        recording="x86-7.2-huge",
    ),
    Mutant(
        "the page behind a large leaf is left out",
        stand_in=("gfn_behind", one_page_too_far),
        recording="x86-6.12-huge-edges",
    ),
    Mutant(
        "the last large page of a range is left out",
        stand_in=("kvm_age_rmap_range", last_word_left_out),
        recording=SHADOW,
    ),
    Mutant(
        "the last large page of a range is not left out, Linux 7.2",
        (Set("RMAP_STEP_FROM_START", 0),),
        recording="x86-shadow-7.2-huge",
    ),
    Mutant(
        "arm64's blocks are pages",
        stand_in=("host_pfn_mapping_level", always_base_pages),
        recording=ARM64,
    ),
    Mutant(
        "arm64's blocks follow the memslot",
        stand_in=("transparent_hugepage_adjust", as_the_memslot_says),
        recording=ARM64,
    ),
    Mutant(
        "a split keeps arm64's accessed bits",
        (Set("MAX_PHYSMEM_BITS", 48),),
        recording="arm64-6.12-huge-split",
    ),
    Mutant(
        "POWER's large leaves are pages",
        stand_in=("host_pfn_mapping_level", always_base_pages),
        recording=PSERIES,
    ),
    Mutant(
        "POWER's leaves are large",
        stand_in=("find_kvm_host_level", a_large_leaf),
        recording=PSERIES,
    ),
    Mutant(
        "mprotect leaves POWER's pages old",
        (Set("MPROTECT_YOUNG", 0),),
        recording=PSERIES,
    ),
)
