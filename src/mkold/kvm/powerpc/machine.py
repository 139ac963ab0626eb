"""powerpc Book3S, as a machine: its hooks and its choices."""

from __future__ import annotations

from mkold.kvm.arch_default import DEFAULTS
from mkold.kvm.machine import Architecture, Choice, Kernel, Mode, Nesting, PageSize
from mkold.kvm.powerpc import book3s
from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.powerpc.hash import rmap
from mkold.kvm.powerpc.hash.hpt import HPTE_SHIFT, PPC_MIN_HPT_ORDER
from mkold.kvm.powerpc.hash.hpte import HASH_4K, HASH_64K, HASH_SMALL
from mkold.kvm.powerpc.nested import spread
from mkold.kvm.powerpc.nested.age import kvmhv_test_clear_young
from mkold.kvm.powerpc.nested.enter import kvmhv_enter_nested_guest
from mkold.kvm.powerpc.nested.l1 import L2_LPID, l1_boot, l1_pages
from mkold.kvm.powerpc.pr.shadow import SHADOW_SMALL
from mkold.kvm.powerpc.radix.age import AS_POSTED
from mkold.kvm.powerpc.radix.pte import RADIX_4K, RADIX_64K, RADIX_SMALL
from mkold.kvm.powerpc.radix.pte_update import CLEAR_BY_PTE_XCHG, CLEAR_BY_UPDATE_PTE
from mkold.kvm.powerpc.radix.tables import FREE_AT_ONCE

HOOKS = DEFAULTS | {
    "kvm_arch_init": book3s.kvm_arch_init,
    "kvm_arch_init_vm": book3s.kvm_arch_init_vm,
    "kvm_arch_destroy_vm": book3s.kvm_arch_destroy_vm,
    "kvm_unmap_gfn_range": book3s.kvm_unmap_gfn_range,
    "kvm_set_spte_gfn": book3s.kvm_set_spte_gfn,
    "kvm_age_gfn": book3s.kvm_age_gfn,
    "kvm_test_age_gfn": book3s.kvm_test_age_gfn,
    "kvm_arch_has_test_clear_young": book3s.kvm_arch_has_test_clear_young,
    "kvm_arch_test_clear_young": book3s.kvm_arch_test_clear_young,
    "kvm_arch_vcpu_runnable": book3s.kvm_arch_vcpu_runnable,
    "kvm_arch_commit_memory_region": book3s.kvm_arch_commit_memory_region,
    "kvm_arch_get_dirty_log": book3s.kvm_arch_get_dirty_log,
    "kvm_arch_create_memslot": rmap.kvm_arch_create_memslot,
    "kvm_arch_vcpu_walk": book3s.kvm_arch_vcpu_walk,
    "kvm_arch_vcpu_page_fault": book3s.kvm_arch_vcpu_page_fault,
    "kvmhv_remove_nest_rmap_range": spread.kvmhv_remove_nest_rmap_range,
    "kvmhv_test_clear_young": kvmhv_test_clear_young,
    "kvmhv_update_nest_rmap_rc_list": spread.kvmhv_update_nest_rmap_rc_list,
}

# A host on which PR alone runs VMs.
# Entries of a table of the process: radix-64k.h, RADIX_PTE_INDEX_SIZE.
HOST_64K = {"PTE_TABLE_SHIFT": 5}
PR_HOST = {
    "CPU_FTR_ARCH_300": 0,
    "MMU_FTR_TYPE_RADIX": 0,
    "KVM_HV": 0,
    "KVM_PR": 1,
    "KVM_FAULT_MARKS": 1,
}

VARIANTS = {
    "as_posted": Choice("the fast path as it was posted for review", AS_POSTED),
    "posted_steps": Choice(
        "steps by a leaf's size from wherever the walk stands", {"STEP_FROM_GFN": 1}
    ),
    "free_at_once": Choice(
        "tables are freed without a grace period (wrong)", {"TABLE_FREE": FREE_AT_ONCE}
    ),
    "no_retry_check": Choice(
        "faults do not check the retry counter (wrong)",
        {"CHECK_RETRY": 0, "HASH_CHECK_RETRY": 0},
    ),
    "nested_lockless": Choice(
        "the fast path ages guests' guests too, walking the reverse map without the lock",
        {"NESTED_LOCKLESS": 1},
    ),
    "entry_at_a_time": Choice("the fast path looks at one entry at a time", {"SCAN_BLOCK": 1}),
}


def table_words(n_pages: int) -> int:
    """Room for the tree; slabs grow by 16 objects, 16 roots being the largest. And the rmap."""
    return 5 * n_pages + (1 << 19)


def hash_words(n_pages: int) -> int:
    """Room for a hash table of two to four HPTEs a page, five words each, and for the guest's
    own entries."""
    hptes = max(1 << (PPC_MIN_HPT_ORDER - HPTE_SHIFT), 4 * n_pages)
    return 5 * hptes + n_pages + (1 << 10)


def nested_words(n_pages: int) -> int:
    """Room for a shadow tree, the reverse map and a node a page."""
    return table_words(n_pages) + 10 * n_pages


machine = Architecture(
    name="powerpc",
    hooks=HOOKS,
    kvm=Kvm,
    vcpu=Vcpu,
    kernels={"v2": Kernel("the series' second version, with what its review asked for")},
    page_sizes={
        "4k": PageSize("4 KiB", RADIX_4K | HASH_4K, shift=12),
        "64k": PageSize("64 KiB", RADIX_64K | HASH_64K | HOST_64K, shift=16),
    },
    clears={
        "pte_xchg": Choice("a compare-and-swap", {"CLEAR_YOUNG": CLEAR_BY_PTE_XCHG}),
        "radix_update_pte": Choice("an atomic clear", {"CLEAR_YOUNG": CLEAR_BY_UPDATE_PTE}),
    },
    # kvm_hv gives back what it mapped, and marks nothing.
    parameters={"KVM_FAULT_MARKS": 0},
    modes={
        "radix": Mode("a radix tree", configure=book3s.kvm_vm_ioctl_configure_mmu, word=1),
        "hash": Mode(
            "a hash table: every fast path is refused",
            configure=book3s.kvm_vm_ioctl_configure_mmu,
            word=0,
            table_words=hash_words,
        ),
        "pr": Mode("run by PR, which has no fast path and sees no accessed bit", PR_HOST),
    },
    nesting=Nesting(
        "the guest is one of the guest's own: L1 has a table of its memory, L0 a shadow tree; "
        "the hardware faults where R or C has to be set, as POWER9 does",
        {"HW_SETS_RC": 0},
        modes=("radix",),
        boot=l1_boot,
        enter=kvmhv_enter_nested_guest,
        number=L2_LPID,
        own_pages=l1_pages,
        table_words=nested_words,
    ),
    variants=VARIANTS,
    table_words=table_words,
    small=RADIX_SMALL | HASH_SMALL | SHADOW_SMALL,
    audit=book3s.kvm_arch_audit,
)
