"""arm64's stage 2, as two machines: the hardware sets the accessed bit, or it faults."""

from __future__ import annotations

from dataclasses import replace

from mkold.kvm.arch_default import DEFAULTS
from mkold.kvm.arm64 import arm, dirty
from mkold.kvm.arm64.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.arm64.audit import stage2_audit
from mkold.kvm.arm64.hw import HW_AF_ALL, HW_AF_MIXED, HW_AF_NONE
from mkold.kvm.arm64.pgtable.age import AGE_BY_RCU, AGE_READ, AGE_WRITE
from mkold.kvm.arm64.pgtable.geometry import (
    STAGE2_4K,
    STAGE2_16K,
    STAGE2_64K,
    STAGE2_SMALL,
)
from mkold.kvm.arm64.pgtable.tables import FREE_AT_ONCE, FREE_BY_RCU
from mkold.kvm.machine import Architecture, Choice, Kernel, Mode, PageSize

HOOKS = (
    DEFAULTS
    | {
        function.name: function
        for function in (
            arm.kvm_arch_init,
            arm.kvm_arch_init_vm,
            arm.kvm_arch_destroy_vm,
            arm.kvm_unmap_gfn_range,
            arm.kvm_set_spte_gfn,
            arm.kvm_age_gfn,
            arm.kvm_test_age_gfn,
            arm.kvm_arch_has_test_clear_young,
            arm.kvm_arch_test_clear_young,
            arm.kvm_arch_vcpu_runnable,
            arm.kvm_arch_vcpu_walk,
            arm.kvm_arch_vcpu_page_fault,
            dirty.kvm_arch_commit_memory_region,
            dirty.kvm_arch_mmu_enable_log_dirty_pt_masked,
        )
    }
    | {"kvm_arch_get_dirty_log": dirty.kvm_get_dirty_log_protect}
)

UPSTREAM = {"AGE_MODE": AGE_WRITE, "UNMAP_FREE": FREE_AT_ONCE, "AGING_BATCHED": 0}
UNTIL_6_12 = {"ACCESS_FAULT_MARKS": 1}
SINCE_6_13 = {"KVM_FAULT_MARKS": 0, "RELEASE_UNUSED": 1}

KERNELS = {
    "v2": Kernel(
        "the series' second version: RCU alone, tables freed by RCU when unmapped",
        {"AGE_MODE": AGE_BY_RCU, "UNMAP_FREE": FREE_BY_RCU, **UNTIL_6_12},
    ),
    "v3": Kernel(
        "its third version: mmu_lock for reading",
        {"AGE_MODE": AGE_READ, "UNMAP_FREE": FREE_AT_ONCE, **UNTIL_6_12},
    ),
    "6.15": Kernel(
        "as it is upstream: mmu_lock for writing",
        {**UPSTREAM, **SINCE_6_13},
        lockless=False,
    ),
    "6.12": Kernel(
        "as it was upstream: more faults mark a page as used",
        {**UPSTREAM, **UNTIL_6_12},
        lockless=False,
    ),
    "6.1": Kernel(
        "as it was upstream: of a range the first page alone is aged",
        {
            **UPSTREAM,
            **UNTIL_6_12,
            "AGE_ONE_LEAF": 1,
            "KVM_FAULT_MARKS": 2,
        },
        lockless=False,
    ),
}

VARIANTS = {
    "mixed_af": Choice(
        "vCPUs of odd numbers run on CPUs that don't set the accessed bit",
        {"STAGE2_HW_AF": HW_AF_MIXED},
    ),
    "swaf_lockless": Choice(
        "the second version's gate opens though the hardware does not set the accessed bit",
        {"AGE_WITHOUT_HW_AF": 1},
    ),
    "clear_the_bit": Choice(
        "a lockless pass clears the bit by itself, which is the marker's too (wrong)",
        {"STAGE2_CLEAR_YOUNG": 1},
    ),
    "free_at_once": Choice(
        "unmapping frees tables without a grace period (wrong with the second version)",
        {"UNMAP_FREE": FREE_AT_ONCE},
    ),
    "no_retry_check": Choice(
        "faults do not check the retry counter (wrong)", {"CHECK_RETRY": 0}
    ),
    "entry_at_a_time": Choice("the fast path looks at one entry at a time", {"SCAN_BLOCK": 1}),
}


def table_words(n_pages: int) -> int:
    """Room for the tree, and for tables that each CPU keeps at hand (14 of them, which are 8192
    entries each with a granule of 64K)."""
    return 5 * n_pages + (1 << 21)


machine = Architecture(
    name="arm64",
    hooks=HOOKS,
    kvm=Kvm,
    vcpu=Vcpu,
    kernels=KERNELS,
    page_sizes={
        "4k": PageSize("4 KiB", {**STAGE2_4K, "CONT_PTES": 16}, shift=12),
        "16k": PageSize("16 KiB", {**STAGE2_16K, "CONT_PTES": 128}, shift=14),
        "64k": PageSize("64 KiB", {**STAGE2_64K, "CONT_PTES": 32}, shift=16),
    },
    clears={"cmpxchg": Choice("a compare-and-swap of the entry", {"STAGE2_CLEAR_YOUNG": 0})},
    modes={"stage2": Mode("stage-2 tables")},
    variants=VARIANTS,
    table_words=table_words,
    small=STAGE2_SMALL,
    parameters={"KVM_HAVE_MMU_RWLOCK": 1, "STAGE2_HW_AF": HW_AF_ALL},
    audit=stage2_audit,
)

swaf = replace(
    machine,
    name="arm64-swaf",
    kernels={"v3": KERNELS["v3"], **KERNELS},  # the second version's gate stays shut here
    parameters={"KVM_HAVE_MMU_RWLOCK": 1, "STAGE2_HW_AF": HW_AF_NONE},
)
