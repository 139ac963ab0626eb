"""Seeded faults about the dirty log of huge pages, each with the recording that shows it."""

from __future__ import annotations

from validate_mutants import Mutant

from mkold.ir.variant import Set, Skip
from mkold.kvm.arm64.pgtable.geometry import KVM_PGTABLE_LAST_LEVEL
from mkold.kvm.host_level import host_pfn_mapping_level
from mkold.kvm.memslots import gfn_to_hva
from mkold.kvm.powerpc.asm.kvm_host import Kvm as PowerKvm
from mkold.kvm.powerpc.asm.kvm_host import Vcpu as PowerVcpu
from mkold.kvm.types import Kvm as AnyKvm
from mkold.kvm.types import MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.mmu.spte import PG_LEVEL_4K, spte_to_child_pt
from mkold.kvm.x86.shadow.memslot_rmap import gfn_to_rmap
from mkold.kvm.x86.shadow.write_protect import rmap_write_protect
from mkold.kvm.x86.tdp.change import tdp_mmu_set_spte_atomic
from mkold.kvm.x86.tdp.huge import tdp_mmu_make_huge_spte
from mkold.kvm.x86.tdp.zap import tdp_mmu_zap_spte_atomic
from mkold.lang import Ptr, kernel, u64
from mkold.mm.mm_types import Mm
from mkold.mm.pgtable import pte_pfn


@kernel
def leaf_at_once(kvm: Ptr[Kvm], sptep: Ptr[u64], spte: u64, gfn: u64, level: u64) -> bool:
    """``collapse_table`` as it is since 6.13."""
    huge = tdp_mmu_make_huge_spte(spte_to_child_pt(spte), level - 1, level)
    return huge != 0 and tdp_mmu_set_spte_atomic(kvm, sptep, spte, huge, level)


@kernel
def zapped_only(kvm: Ptr[Kvm], sptep: Ptr[u64], spte: u64, gfn: u64, level: u64) -> bool:
    """``collapse_table`` as it was up to 6.12."""
    return tdp_mmu_zap_spte_atomic(kvm, sptep, spte, gfn, level)


@kernel
def nothing_is_split(
    kvm: Ptr[Kvm], start: u64, end: u64, target: u64, shared: u64, waits: Ptr[u64]
) -> bool:
    """``kvm_tdp_mmu_try_split_huge_pages`` that leaves it to faults."""
    return True


@kernel
def first_frame(mm: Ptr[Mm], page: u64, pte: u64) -> u64:
    """``mapped_pfn`` of the first page that a huge entry maps."""
    return pte_pfn(pte)


@kernel
def base_pages_protected(slot: Ptr[MemorySlot]) -> u64:
    """``kvm_mmu_slot_remove_write_access`` that leaves large leaves writable."""
    flush: u64 = 0
    for gfn in range(slot.base_gfn, slot.base_gfn + slot.npages):
        flush |= rmap_write_protect(gfn_to_rmap(slot, gfn, PG_LEVEL_4K), 0)
    return flush


@kernel
def block_in_spite_of_log(slot: Ptr[MemorySlot], gfn: u64) -> u64:
    """arm64's ``fault_level`` that does not ask whether there is a log."""
    mask: u64 = 511
    first = gfn & ~mask
    if first >= slot.base_gfn and first + mask < slot.base_gfn + slot.npages:
        return KVM_PGTABLE_LAST_LEVEL - 1
    return KVM_PGTABLE_LAST_LEVEL


@kernel
def large_in_spite_of_log(
    kvm: Ptr[PowerKvm], vcpu: Ptr[PowerVcpu], slot: Ptr[MemorySlot], gfn: u64
) -> u64:
    """POWER's ``find_kvm_host_level`` that does not ask whether there is a log."""
    return host_pfn_mapping_level(kvm.mm, gfn_to_hva(slot, gfn))


@kernel
def nothing_starts_set(kvm: Ptr[AnyKvm]) -> bool:
    """``kvm_dirty_log_manual_protect_and_init_set`` of a VM whose logs begin empty."""
    return False


X86, NEW = "x86-6.12-huge-log", "x86-7.2-huge-log"
SHADOW, ARM64 = "x86-shadow-6.12-huge-log", "arm64-6.12-huge-log"
PSERIES = "pseries-6.12-huge-log"
HUGE_LOG_MUTANTS = (
    Mutant(
        "where a log ends tables stay",
        (Skip("kvm_tdp_mmu_recover_huge_pages"),),
        recording=X86,
    ),
    Mutant(
        "where a log ends a leaf comes back at once",
        stand_in=("collapse_table", leaf_at_once),
        recording=X86,
    ),
    Mutant(
        "where a log ends the table is zapped, Linux 7.2",
        stand_in=("collapse_table", zapped_only),
        recording=NEW,
    ),
    Mutant(
        "large leaves are not split as a log begins",
        stand_in=("kvm_tdp_mmu_try_split_huge_pages", nothing_is_split),
        recording=X86,
    ),
    Mutant(
        "clearing leaves large leaves as they are",
        (Skip("see_writes_to_large_leaves"),),
        recording=X86,
    ),
    Mutant(
        "a log never begins with all bits set",
        stand_in=("kvm_dirty_log_manual_protect_and_init_set", nothing_starts_set),
        recording=X86,
    ),
    Mutant(
        "a small leaf below a huge entry has its first frame",
        stand_in=("mapped_pfn", first_frame),
        recording="x86-6.12-huge-frames",
    ),
    Mutant(
        "a collapse goes on behind an area without a table",
        (Set("COLLAPSE_PAST_NOTHING", 1),),
        recording=X86,
    ),
    Mutant(
        "a collapse ends at an area without a table, Linux 7.2",
        (Set("COLLAPSE_PAST_NOTHING", 0),),
        recording=NEW,
    ),
    Mutant(
        "shadow tables: large leaves stay writable",
        stand_in=("kvm_mmu_slot_remove_write_access", base_pages_protected),
        recording=SHADOW,
    ),
    Mutant(
        "shadow tables: where a log ends base pages stay",
        (Skip("kvm_rmap_zap_collapsible_sptes"),),
        recording=SHADOW,
    ),
    Mutant(
        "shadow tables: clearing leaves large leaves writable",
        (Skip("kvm_mmu_slot_gfn_write_protect"),),
        recording=SHADOW,
    ),
    Mutant(
        "arm64: a log maps blocks",
        stand_in=("fault_level", block_in_spite_of_log),
        recording=ARM64,
    ),
    Mutant(
        "arm64: a log protects nothing", (Skip("kvm_mmu_wp_memory_region"),), recording=ARM64
    ),
    Mutant(
        "arm64: clearing protects nothing",
        (Skip("kvm_arch_mmu_enable_log_dirty_pt_masked"),),
        recording=ARM64,
    ),
    Mutant(
        "POWER: a log leaves what is mapped",
        (Skip("kvmppc_radix_flush_memslot"),),
        recording=PSERIES,
    ),
    Mutant(
        "POWER: a log maps large leaves",
        stand_in=("find_kvm_host_level", large_in_spite_of_log),
        recording=PSERIES,
    ),
    Mutant(
        "POWER: dirty pages stay dirty",
        (Skip("kvm_radix_test_clear_dirty"),),
        recording=PSERIES,
    ),
)
