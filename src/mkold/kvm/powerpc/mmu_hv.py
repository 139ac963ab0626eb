"""What HV does for a VM, by the mode that its MMU is in.

Rules
-----
* Whoever holds ``mmu_lock`` looks at the mode flag first: out of radix mode there is nothing
  to unmap and nothing young, though the tree may still be there. It is being freed, without
  the lock.
* A secure guest's memory is out of the hypervisor's sight: nothing of it is young.

Source: arch/powerpc/kvm/book3s_64_mmu_hv.c, book3s_hv.c.
Known limits: the hash table is not part of this machine.
"""

from __future__ import annotations

from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.radix.age import kvm_age_radix, kvm_is_secure, kvm_test_age_radix
from mkold.kvm.powerpc.radix.tables import kvmppc_free_radix, kvmppc_radix_init
from mkold.kvm.powerpc.radix.unmap import kvm_unmap_radix
from mkold.kvm.powerpc.switch import kvmppc_switch_mmu_to_radix
from mkold.lang import READ_ONCE, Ptr, kernel, smp_store_release, u64


@kernel
def kvmppc_core_init_vm_hv(kvm: Ptr[Kvm]) -> u64:
    """A new VM is in radix mode, with an empty tree; 0, or 1 if there is no memory."""
    kvmppc_radix_init(kvm)
    if kvmppc_switch_mmu_to_radix(kvm):
        return 1
    smp_store_release(kvm.arch.mmu_ready, 1)
    return 0


@kernel
def kvmppc_core_destroy_vm_hv(kvm: Ptr[Kvm]) -> None:
    """Free the tables; see ``kvm_arch_destroy_vm``."""
    kvmppc_free_radix(kvm)


@kernel
def kvm_unmap_gfn_range_hv(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Unmap ``[gfn, end)``, each leaf with its flush; ``mmu_lock`` is held."""
    if READ_ONCE(kvm.arch.radix):
        kvm_unmap_radix(kvm, gfn, end)
    return 0


@kernel
def kvm_set_spte_gfn_hv(kvm: Ptr[Kvm], gfn: u64, pfn: u64) -> u64:
    """The page is unmapped, and mapped anew by the next fault; ``pfn`` is not needed."""
    return kvm_unmap_gfn_range_hv(kvm, gfn, gfn + 1)


@kernel
def kvm_age_gfn_hv(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Slow path, under ``mmu_lock``: clear ``[gfn, end)`` page by page; 1 if any was young."""
    young = 0
    if READ_ONCE(kvm.arch.radix) and not kvm_is_secure(kvm):
        for at in range(gfn, end):
            young |= kvm_age_radix(kvm, at)
    return young


@kernel
def kvm_test_age_gfn_hv(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """As ``kvm_age_gfn_hv``, without clearing; stops at the first young page."""
    if READ_ONCE(kvm.arch.radix) and not kvm_is_secure(kvm):
        for at in range(gfn, end):
            if kvm_test_age_radix(kvm, at):
                return 1
    return 0
