"""Book3S: what the machine is, and whether a VM can run.

Source: arch/powerpc/kvm/book3s.c; the gate: "KVM: powerpc: add kvm_arch_test_clear_young()",
lore 20230526234435.662652-8-yuzhao@google.com, and its review of 20-21 June 2023.
Known limits: HV alone.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.types import Vcpu
from mkold.lang import Ptr, kernel, parameter, smp_load_acquire, u64

# What the machine is: the capability gate reads these.
CPU_FTR_HVMODE = parameter("CPU_FTR_HVMODE", 1)
CPU_FTR_ARCH_300 = parameter("CPU_FTR_ARCH_300", 1)
MMU_FTR_TYPE_RADIX = parameter("MMU_FTR_TYPE_RADIX", 1)


@kernel
def kvm_arch_has_test_clear_young() -> u64:
    """Whether this machine has a fast path at all; may say yes too often."""
    return CPU_FTR_HVMODE and CPU_FTR_ARCH_300 and MMU_FTR_TYPE_RADIX


@kernel
def radix_enabled_on_bare_metal() -> u64:
    """The reviewer's gate: ``radix_enabled() && !kvmhv_on_pseries()``."""
    return MMU_FTR_TYPE_RADIX and CPU_FTR_HVMODE


@kernel
def kvm_arch_vcpu_runnable(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Whether the VM is in a mode in which vCPUs run, and has tables."""
    return smp_load_acquire(kvm.arch.mmu_ready)
