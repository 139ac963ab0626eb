"""PR: its table of operations, and its loading. There is no ``test_clear_young`` in it.

Source: arch/powerpc/kvm/book3s_pr.c (``kvm_ops_pr``, ``kvmppc_book3s_init_pr``).
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import kvmppc_module
from mkold.kvm.powerpc.pr.mmu import (
    kvm_age_gfn_pr,
    kvm_configure_mmu_pr,
    kvm_set_spte_gfn_pr,
    kvm_test_age_gfn_pr,
    kvm_unmap_gfn_range_pr,
    kvmppc_core_destroy_vm_pr,
    kvmppc_core_init_vm_pr,
)
from mkold.lang import NULL, addr, kernel, smp_store_release


@kernel
def kvmppc_book3s_init_pr() -> None:
    """Load PR: from here on it runs new VMs that HV does not."""
    module = kvmppc_module()
    ops = addr(module.kvm_ops_pr)
    ops.init_vm = kvmppc_core_init_vm_pr
    ops.destroy_vm = kvmppc_core_destroy_vm_pr
    ops.unmap_gfn_range = kvm_unmap_gfn_range_pr
    ops.set_spte_gfn = kvm_set_spte_gfn_pr
    ops.age_gfn = kvm_age_gfn_pr
    ops.test_age_gfn = kvm_test_age_gfn_pr
    ops.test_clear_young = NULL
    ops.configure_mmu = kvm_configure_mmu_pr
    smp_store_release(module.kvmppc_pr_ops, ops)
