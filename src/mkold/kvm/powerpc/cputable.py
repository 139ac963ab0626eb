"""What the host is: build parameters that the modules and the capability gate read.

======================  ===================================================================
``CPU_FTR_HVMODE``      bare metal; else it is a guest itself (``kvmhv_on_pseries``)
``CPU_FTR_ARCH_300``    POWER9 or later
``MMU_FTR_TYPE_RADIX``  the host's own MMU is in radix mode
``NESTED_API``          as a guest: what its host offers for guests of its own: 0, 1 or 2
``KVM_HV``, ``KVM_PR``  whether the module is there to be loaded
======================  ===================================================================

Source: arch/powerpc/include/asm/cputable.h, mmu.h; arch/powerpc/kvm/book3s_hv.c,
book3s_hv_nested.c (``kvmhv_nested_init``), book3s_pr.c
(``kvmppc_core_check_processor_compat_pr``).
"""

from __future__ import annotations

from mkold.lang import kernel, parameter, u64

CPU_FTR_HVMODE = parameter("CPU_FTR_HVMODE", 1)
CPU_FTR_ARCH_300 = parameter("CPU_FTR_ARCH_300", 1)
MMU_FTR_TYPE_RADIX = parameter("MMU_FTR_TYPE_RADIX", 1)
NESTED_API = parameter("NESTED_API", 1)
KVM_HV = parameter("KVM_HV", 1)
KVM_PR = parameter("KVM_PR", 0)


@kernel
def radix_enabled() -> u64:
    """Whether the host's own MMU is in radix mode."""
    return MMU_FTR_TYPE_RADIX


@kernel
def kvmhv_on_pseries() -> u64:
    """Whether the host is a guest itself."""
    return not CPU_FTR_HVMODE


@kernel
def kvmppc_hv_can_load() -> u64:
    """HV: on bare metal, or as a radix guest of a host that lets it have guests."""
    if not kvmhv_on_pseries():
        return KVM_HV
    return KVM_HV and radix_enabled() and NESTED_API != 0


@kernel
def kvmppc_pr_can_load() -> u64:
    """PR: not where the host is POWER9 or later in radix mode."""
    return KVM_PR and not (CPU_FTR_ARCH_300 and radix_enabled())
