"""The hooks of Book3S: each goes to the implementation that runs the VM.

Source: arch/powerpc/kvm/book3s.c, powerpc.c (kvm_arch_init_vm); the gate: "KVM: powerpc: add
kvm_arch_test_clear_young()", lore 20230526234435.662652-8-yuzhao@google.com, and its review
of 20-21 June 2023.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm, Vcpu, kvmppc_module
from mkold.kvm.powerpc.book3s_hv import kvmppc_book3s_init_hv
from mkold.kvm.powerpc.book3s_pr import kvmppc_book3s_init_pr
from mkold.kvm.powerpc.cputable import (
    CPU_FTR_ARCH_300,
    CPU_FTR_HVMODE,
    MMU_FTR_TYPE_RADIX,
    kvmhv_on_pseries,
    kvmppc_hv_can_load,
    kvmppc_pr_can_load,
    radix_enabled,
)
from mkold.kvm.powerpc.hash.audit import kvm_hpt_audit
from mkold.kvm.powerpc.hash.hw import mmu_walk_hpt
from mkold.kvm.powerpc.hash.vcpu import kvmppc_hash_page_fault
from mkold.kvm.powerpc.mmu_hv import (
    kvm_vm_ioctl_get_dirty_log_hv,
    kvmppc_core_commit_memory_region_hv,
)
from mkold.kvm.powerpc.nested.audit import kvm_nested_audit
from mkold.kvm.powerpc.nested.fault import kvmhv_nested_page_fault
from mkold.kvm.powerpc.pr.mmu import kvmppc_mmu_map_page, mmu_walk_shadow
from mkold.kvm.powerpc.radix.fault import kvmppc_book3s_radix_page_fault
from mkold.kvm.powerpc.radix.hw import mmu_walk_hw
from mkold.kvm.types import MemorySlot
from mkold.lang import NULL, READ_ONCE, Ptr, kernel, smp_load_acquire, u64


@kernel
def kvm_arch_init() -> None:
    """Load what there is to run VMs, and can on this machine."""
    if kvmppc_hv_can_load():
        kvmppc_book3s_init_hv()
    if kvmppc_pr_can_load():
        kvmppc_book3s_init_pr()


@kernel
def kvm_arch_init_vm(kvm: Ptr[Kvm]) -> u64:
    """HV runs the VM, if it is loaded, else PR."""
    ops = smp_load_acquire(kvmppc_module().kvmppc_hv_ops)
    if ops == NULL:
        ops = smp_load_acquire(kvmppc_module().kvmppc_pr_ops)
    if ops == NULL:
        return 1
    kvm.arch.kvm_ops = ops
    return ops.init_vm(kvm)


@kernel
def kvm_arch_destroy_vm(kvm: Ptr[Kvm]) -> None:
    """To the VM's own implementation."""
    kvm.arch.kvm_ops.destroy_vm(kvm)


@kernel
def kvm_unmap_gfn_range(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """To the VM's own implementation."""
    return kvm.arch.kvm_ops.unmap_gfn_range(kvm, gfn, end)


@kernel
def kvm_set_spte_gfn(kvm: Ptr[Kvm], gfn: u64, pfn: u64) -> u64:
    """To the VM's own implementation."""
    return kvm.arch.kvm_ops.set_spte_gfn(kvm, gfn, pfn)


@kernel
def kvm_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """To the VM's own implementation."""
    return kvm.arch.kvm_ops.age_gfn(kvm, gfn, end)


@kernel
def kvm_test_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """To the VM's own implementation."""
    return kvm.arch.kvm_ops.test_age_gfn(kvm, gfn, end)


@kernel
def kvm_arch_has_test_clear_young() -> u64:
    """Whether this machine has a fast path at all; may say yes too often."""
    return CPU_FTR_HVMODE and CPU_FTR_ARCH_300 and MMU_FTR_TYPE_RADIX


@kernel
def radix_enabled_on_bare_metal() -> u64:
    """The reviewer's gate: ``radix_enabled() && !kvmhv_on_pseries()``."""
    return radix_enabled() and not kvmhv_on_pseries()


@kernel
def kvm_arch_test_clear_young(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """To the VM's own implementation; one that has no fast path fails."""
    ops = kvm.arch.kvm_ops
    if ops.test_clear_young == NULL:
        return 1, 0
    failed, young = ops.test_clear_young(kvm, gfn, end, clear, bitmap, last_bit)
    return failed, young


@kernel
def kvm_vm_ioctl_configure_mmu(kvm: Ptr[Kvm], radix: u64) -> u64:
    """KVM_PPC_CONFIGURE_V3_MMU: to the VM's own implementation."""
    return kvm.arch.kvm_ops.configure_mmu(kvm, radix)


@kernel
def kvm_arch_commit_memory_region(
    kvm: Ptr[Kvm], slot: Ptr[MemorySlot], bitmap: Ptr[u64], protect: u64
) -> u64:
    """Under HV; PR has no log here."""
    if kvm.arch.pr:
        return 1
    return kvmppc_core_commit_memory_region_hv(kvm, slot, bitmap)


@kernel
def kvm_arch_get_dirty_log(kvm: Ptr[Kvm], slot: Ptr[MemorySlot], log: Ptr[u64]) -> u64:
    """Under HV; PR has no log here."""
    if kvm.arch.pr:
        return 1
    return kvm_vm_ioctl_get_dirty_log_hv(kvm, slot, log)


@kernel
def kvm_arch_vcpu_runnable(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Whether the VM is in a mode in which vCPUs run, and has tables."""
    return smp_load_acquire(kvm.arch.mmu_ready)


@kernel
def kvm_arch_vcpu_walk(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> tuple[u64, u64]:
    """The hardware, in the mode that the VM is in: it does not change in guest mode. A guest of
    the VM's own has its shadow tree in either, which is empty out of radix mode."""
    if vcpu.arch.nested != NULL or READ_ONCE(kvm.arch.radix):
        ok, pfn = mmu_walk_hw(kvm, vcpu, gfn, write)
    elif kvm.arch.pr:
        ok, pfn = mmu_walk_shadow(kvm, vcpu, gfn, write)
    else:
        ok, pfn = mmu_walk_hpt(kvm, vcpu, gfn, write)
    return ok, pfn


@kernel
def kvm_arch_vcpu_page_fault(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], gfn: u64, write: u64) -> u64:
    """A fault, in the mode that the VM is in: it may change meanwhile, which both look at. Or
    one of a guest of the VM's own, which is there in radix mode."""
    if vcpu.arch.nested != NULL:
        return kvmhv_nested_page_fault(kvm, vcpu, gfn, write)
    if READ_ONCE(kvm.arch.radix):
        return kvmppc_book3s_radix_page_fault(kvm, vcpu, gfn, write)
    if kvm.arch.pr:
        return kvmppc_mmu_map_page(kvm, vcpu, gfn, write)
    return kvmppc_hash_page_fault(kvm, vcpu, gfn, write)


@kernel
def kvm_arch_audit(kvm: Ptr[Kvm]) -> u64:
    """Look through the books of a stopped VM: the first rule that is broken, or 0."""
    if READ_ONCE(kvm.arch.radix) and READ_ONCE(kvm.arch.nested_enable):
        return kvm_nested_audit(kvm)
    return kvm_hpt_audit(kvm)
