"""HV: its table of operations, and its loading.

Source: arch/powerpc/kvm/book3s_hv.c (``kvm_ops_hv``, ``kvmppc_book3s_init_hv``).
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import kvmppc_module
from mkold.kvm.powerpc.mmu_hv import (
    kvm_age_gfn_hv,
    kvm_set_spte_gfn_hv,
    kvm_test_age_gfn_hv,
    kvm_unmap_gfn_range_hv,
    kvmppc_core_destroy_vm_hv,
    kvmppc_core_init_vm_hv,
)
from mkold.kvm.powerpc.radix.age import kvm_test_clear_young_hv
from mkold.kvm.powerpc.switch import kvmhv_configure_mmu
from mkold.lang import addr, kernel, smp_store_release


@kernel
def kvmppc_book3s_init_hv() -> None:
    """Load HV: from here on new VMs are run by it."""
    module = kvmppc_module()
    ops = addr(module.kvm_ops_hv)
    ops.init_vm = kvmppc_core_init_vm_hv
    ops.destroy_vm = kvmppc_core_destroy_vm_hv
    ops.unmap_gfn_range = kvm_unmap_gfn_range_hv
    ops.set_spte_gfn = kvm_set_spte_gfn_hv
    ops.age_gfn = kvm_age_gfn_hv
    ops.test_age_gfn = kvm_test_age_gfn_hv
    ops.test_clear_young = kvm_test_clear_young_hv
    ops.configure_mmu = kvmhv_configure_mmu
    smp_store_release(module.kvmppc_hv_ops, ops)
