"""x86, as machines: EPT with accessed and dirty bits, EPT without, and shadow tables alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mkold.kvm.arch_default import DEFAULTS
from mkold.kvm.machine import Architecture, Choice, Kernel, Mode, Nesting, PageSize
from mkold.kvm.x86 import hw, nested, x86
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.x86.audit import kvm_tdp_mmu_audit
from mkold.kvm.x86.fault import kvm_tdp_page_fault
from mkold.kvm.x86.shadow import log as shadow_log
from mkold.kvm.x86.shadow import mmu as shadow_mmu
from mkold.kvm.x86.shadow.audit import kvm_shadow_mmu_audit
from mkold.kvm.x86.shadow.fault import kvm_shadow_page_fault
from mkold.kvm.x86.shadow.l1 import L1_GEOMETRY, l1_boot, l1_pages
from mkold.kvm.x86.shadow.l1 import nested_enter as shadow_nested_enter
from mkold.kvm.x86.shadow.memslot_rmap import kvm_arch_create_memslot
from mkold.kvm.x86.shadow.write_protect import kvm_get_dirty_log_protect
from mkold.kvm.x86.tdp import log
from mkold.kvm.x86.tdp.age import AGE_AS_KERNEL, AGE_BLINDLY, AGE_BY_CMPXCHG, V2
from mkold.kvm.x86.tdp.dirty import kvm_vm_ioctl_get_dirty_log
from mkold.kvm.x86.tdp.pages import FREE_AT_ONCE

HOOKS = DEFAULTS | {
    "kvm_arch_init": x86.kvm_arch_init,
    "kvm_arch_init_vm": x86.kvm_arch_init_vm,
    "kvm_arch_destroy_vm": x86.kvm_arch_destroy_vm,
    "kvm_unmap_gfn_range": x86.kvm_unmap_gfn_range,
    "kvm_set_spte_gfn": x86.kvm_set_spte_gfn,
    "kvm_age_gfn": x86.kvm_age_gfn,
    "kvm_test_age_gfn": x86.kvm_test_age_gfn,
    "kvm_arch_has_test_clear_young": x86.kvm_arch_has_test_clear_young,
    "kvm_arch_test_clear_young": x86.kvm_arch_test_clear_young,
    "kvm_arch_vcpu_runnable": x86.kvm_arch_vcpu_runnable,
    "kvm_arch_vcpu_walk": hw.mmu_walk_tdp,
    "kvm_arch_vcpu_page_fault": kvm_tdp_page_fault,
    "kvm_arch_flush_shadow_memslot": x86.kvm_arch_flush_shadow_memslot,
}

LOG_HOOKS = {
    "kvm_arch_commit_memory_region": log.kvm_arch_commit_memory_region,
    "kvm_arch_get_dirty_log": kvm_vm_ioctl_get_dirty_log,
    "kvm_arch_mmu_enable_log_dirty_pt_masked": log.kvm_arch_mmu_enable_log_dirty_pt_masked,
}
NO_LOG = {name: DEFAULTS[name] for name in LOG_HOOKS}

ZERO_NONPRESENT = {"SHADOW_NONPRESENT_BIT": 0}
UNTIL_6_12 = {"ZAP_MARKS": 1}
SINCE_6_13 = {
    "KVM_ELIDE_TLB_FLUSH_IF_YOUNG": 1,
    "KVM_FAULT_MARKS": 0,
    "RELEASE_UNUSED": 1,
}


def kernels(v2_lockless: bool) -> Mapping[str, Kernel]:
    """The versions of the source; the series' ages without the lock only by the hardware's
    bit."""
    return {
        "6.15": Kernel(
            "ages without mmu_lock, page by page",
            {"LINUX_VERSION": 615, "AGING_BATCHED": 0, **SINCE_6_13},
        ),
        "v2": Kernel(
            "the series' second version: without mmu_lock, by bitmaps",
            {"LINUX_VERSION": V2, "AGING_BATCHED": 1, **ZERO_NONPRESENT, **UNTIL_6_12},
            lockless=v2_lockless,
        ),
        "6.12": Kernel(
            "ages with mmu_lock held for writing",
            {"LINUX_VERSION": 612, "AGING_BATCHED": 0, **UNTIL_6_12},
            lockless=False,
        ),
        "6.1": Kernel(
            "ages with mmu_lock held for writing, and its own way to zap",
            {"LINUX_VERSION": 601, "AGING_BATCHED": 0, **ZERO_NONPRESENT, **UNTIL_6_12},
            lockless=False,
        ),
    }


PAGE_SIZES = {
    "4k": PageSize("4 KiB", {"SPTE_LEVEL_BITS": 9, "PT64_ROOT_LEVEL": 4}, shift=12),
}
SMALL = {"SPTE_LEVEL_BITS": 1, "PT64_ROOT_LEVEL": 2}
SHADOW_SMALL = {"KVM_MMU_HASH_SHIFT": 1, "KVM_MAX_HUGEPAGE_LEVEL": 2}
VARIANTS = {
    "free_at_once": Choice(
        "tables are freed without a grace period (wrong)", {"TABLE_FREE": FREE_AT_ONCE}
    ),
    "no_retry_check": Choice(
        "faults do not check the retry counter (wrong)", {"CHECK_RETRY": 0}
    ),
    "entry_at_a_time": Choice("the fast path looks at one entry at a time", {"SCAN_BLOCK": 1}),
    "frozen_without_a": Choice(
        "a frozen entry has no accessed bit, as was proposed", {"FROZEN_BITS": 0x498}
    ),
}


def table_words(n_pages: int) -> int:
    """Room for the tables, a word a page and what goes with a table; a cache grows by 16."""
    return 2 * n_pages + (1 << 17)


def shadow_table_words(n_pages: int) -> int:
    """As ``table_words``, and a word a page for the reverse map, and a half for descs."""
    return table_words(n_pages) + 2 * n_pages + (1 << 12)


def nested_words(n_pages: int) -> int:
    """Room for tables of eight entries, L1's and L2's, for what each entry of L2's maps, and
    for the reverse map."""
    return 16 * n_pages + (1 << 16)


machine = Architecture(
    name="x86",
    hooks=HOOKS | LOG_HOOKS,
    kvm=Kvm,
    vcpu=Vcpu,
    kernels=kernels(v2_lockless=True),
    page_sizes=PAGE_SIZES,
    clears={
        "fetch_and": Choice("an atomic AND", {"AGE_SPTE": AGE_AS_KERNEL}),
        "cmpxchg": Choice("a compare-and-swap", {"AGE_SPTE": AGE_BY_CMPXCHG}),
    },
    modes={
        "ept": Mode("EPT with accessed and dirty bits", {"EPT": 1}),
        "npt": Mode(
            "NPT: AMD's bits; writes are logged by write protection",
            {"EPT": 0, "ENABLE_PML": 0},
        ),
    },
    variants=VARIANTS,
    table_words=table_words,
    small=SMALL,
    parameters={"KVM_HAVE_MMU_RWLOCK": 1, "KVM_AD_ENABLED": 1},
    audit=kvm_tdp_mmu_audit,
    nesting=Nesting(
        "the guest is one of the guest's own: L1 has EPT or NPT tables of its memory, which "
        "L0's shadow MMU follows; the TDP MMU maps L1",
        {"TDP_MMU_ENABLED": 1, **L1_GEOMETRY},
        modes=("ept", "npt"),
        boot=l1_boot,
        enter=nested.nested_enter,
        number=1,
        own_pages=l1_pages,
        table_words=nested_words,
        hooks=nested.NESTED_HOOKS | NO_LOG,
        audit=nested.kvm_nested_audit,
    ),
)

noad = Architecture(
    name="x86-noad",
    hooks=HOOKS | LOG_HOOKS,
    kvm=Kvm,
    vcpu=Vcpu,
    kernels=kernels(v2_lockless=False),
    page_sizes=PAGE_SIZES,
    clears={
        "cmpxchg": Choice(
            "a compare-and-swap to the tracked form", {"AGE_SPTE": AGE_AS_KERNEL}
        ),
        "blind": Choice(
            "what an access needs is cleared, whatever the entry is by now (wrong)",
            {"AGE_SPTE": AGE_BLINDLY},
        ),
    },
    modes={"ept": Mode("EPT without accessed and dirty bits", {"EPT": 1})},
    variants=VARIANTS,
    table_words=table_words,
    small=SMALL,
    parameters={"KVM_HAVE_MMU_RWLOCK": 1, "KVM_AD_ENABLED": 0, "ENABLE_PML": 0},
    audit=kvm_tdp_mmu_audit,
)

# As Linux 6.15 is, where mkold's own walk differs.
AS_6_15 = {"RMAP_STEP_FROM_START": 1, "RMAP_GATE": 0, "CHILD_CHECK": 0}

SHADOW_HOOKS = HOOKS | {
    "kvm_arch_commit_memory_region": shadow_log.kvm_arch_commit_memory_region,
    "kvm_arch_get_dirty_log": kvm_get_dirty_log_protect,
    "kvm_arch_mmu_enable_log_dirty_pt_masked": (
        shadow_log.kvm_arch_mmu_enable_log_dirty_pt_masked
    ),
    "kvm_arch_init": shadow_mmu.kvm_arch_init,
    "kvm_arch_init_vm": shadow_mmu.kvm_arch_init_vm,
    "kvm_arch_destroy_vm": shadow_mmu.kvm_arch_destroy_vm,
    "kvm_arch_create_memslot": kvm_arch_create_memslot,
    "kvm_unmap_gfn_range": shadow_mmu.kvm_unmap_gfn_range,
    "kvm_set_spte_gfn": shadow_mmu.kvm_set_spte_gfn,
    "kvm_age_gfn": shadow_mmu.kvm_age_gfn,
    "kvm_test_age_gfn": shadow_mmu.kvm_test_age_gfn,
    "kvm_arch_has_test_clear_young": shadow_mmu.kvm_arch_has_test_clear_young,
    "kvm_arch_test_clear_young": shadow_mmu.kvm_arch_test_clear_young,
    "kvm_arch_vcpu_runnable": shadow_mmu.kvm_arch_vcpu_runnable,
    "kvm_arch_vcpu_page_fault": kvm_shadow_page_fault,
    "kvm_arch_flush_shadow_memslot": shadow_mmu.kvm_arch_flush_shadow_memslot,
}

SHADOW_KERNELS = {
    name: replace(kernel, parameters={**kernel.parameters, **AS_6_15})
    if name == "6.15"
    else kernel
    for name, kernel in kernels(v2_lockless=False).items()
}

shadow = Architecture(
    name="x86-shadow",
    hooks=SHADOW_HOOKS,
    kvm=Kvm,
    vcpu=Vcpu,
    kernels=SHADOW_KERNELS,
    page_sizes=PAGE_SIZES,
    clears={"lock_and": Choice("an atomic AND, or one compare-and-swap")},
    modes={
        "ept": Mode("EPT with accessed and dirty bits", {"EPT": 1, "KVM_AD_ENABLED": 1}),
        "ept-noad": Mode("EPT without them", {"EPT": 1, "KVM_AD_ENABLED": 0}),
        "npt": Mode("NPT: AMD's bits", {"EPT": 0, "KVM_AD_ENABLED": 1}),
    },
    variants={key: VARIANTS[key] for key in ("no_retry_check",)},
    table_words=shadow_table_words,
    small=SMALL | SHADOW_SMALL,
    parameters={"KVM_HAVE_MMU_RWLOCK": 1, "ENABLE_PML": 0},
    audit=kvm_shadow_mmu_audit,
    nesting=Nesting(
        "the guest is one of the guest's own: L1 has EPT or NPT tables of its memory, L0 "
        "follows them",
        L1_GEOMETRY,
        modes=("ept", "npt"),
        boot=l1_boot,
        enter=shadow_nested_enter,
        number=1,
        own_pages=l1_pages,
        table_words=nested_words,
    ),
)
