"""The hooks of KVM on x86 where the TDP MMU is off: every guest is mapped by shadow tables.

Rules
-----
* A vCPU gets a root on its way into guest mode; all of a VM's vCPUs have the same one.
* Which version of aging there is, and whether it can do without ``mmu_lock``, is the kernel's
  to say (``spte.LINUX_VERSION``). The series' version has no lockless path here at all.

Source: arch/x86/kvm/mmu/mmu.c (``kvm_age_gfn``, ``kvm_unmap_gfn_range``, ``kvm_mmu_load``);
v2: lore 20230526234435.662652-9-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.kvm.memslots import gfn_to_memslot
from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import kvm_flush_remote_tlbs, kvm_vcpu_of
from mkold.kvm.types import IN_GUEST_MODE, MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, Vcpu
from mkold.kvm.x86.mmu.spte import LINUX_VERSION
from mkold.kvm.x86.shadow.age import (
    kvm_age_rmap_range,
    kvm_may_have_shadow_mmu_sptes,
    kvm_rmap_age_gfn_range,
)
from mkold.kvm.x86.shadow.fault import kvm_mmu_load
from mkold.kvm.x86.shadow.pages import kvm_mmu_init_shadow, kvm_mmu_put_root
from mkold.kvm.x86.shadow.rmap_zap import kvm_rmap_zap_gfn_range
from mkold.kvm.x86.shadow.zap import kvm_mmu_zap_oldest_mmu_pages
from mkold.lang import NULL, READ_ONCE, Ptr, addr, cast, kernel, u64

V2 = 604


@kernel
def kvm_arch_init() -> None:
    """Nothing to load."""


@kernel
def kvm_arch_init_vm(kvm: Ptr[Kvm]) -> u64:
    """A VM without a table: its vCPUs make the first."""
    return kvm_mmu_init_shadow(kvm)


@kernel
def kvm_arch_destroy_vm(kvm: Ptr[Kvm]) -> None:
    """Put the vCPUs' roots, and take all tables away."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    for i in range(kvm.n_vcpus):
        kvm_mmu_put_root(cast(Ptr[Vcpu], kvm_vcpu_of(kvm, i)))
    kvm_mmu_zap_oldest_mmu_pages(kvm, ~0)
    kvm_mmu_unlock(kvm)


@kernel
def kvm_unmap_gfn_range(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Unmap ``[gfn, end)``, pages of one slot; 1 if the caller has to flush."""
    return kvm_rmap_zap_gfn_range(kvm, gfn_to_memslot(kvm, gfn), gfn, end)


@kernel
def kvm_set_spte_gfn(kvm: Ptr[Kvm], gfn: u64, pfn: u64) -> u64:
    """The page is unmapped, and mapped anew by the next fault; ``pfn`` is not needed."""
    return kvm_unmap_gfn_range(kvm, gfn, gfn + 1)


@kernel
def kvm_age_gfn_lockless(kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64) -> u64:
    """Test (and clear) ``[gfn, end)``, pages of one slot, if any can be mapped here."""
    if not kvm_may_have_shadow_mmu_sptes(kvm):
        return 0
    return kvm_rmap_age_gfn_range(gfn_to_memslot(kvm, gfn), gfn, end, clear)


@kernel
def age_as_locked(kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64) -> u64:
    """Under ``mmu_lock``; 6.15 does not need it, and takes the same way as without."""
    if LINUX_VERSION >= 615:
        return kvm_age_gfn_lockless(kvm, gfn, end, clear)
    return kvm_age_rmap_range(gfn_to_memslot(kvm, gfn), gfn, end, clear)


@kernel
def kvm_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Age ``[gfn, end)``, pages of one slot, as the kernel's version does."""
    return age_as_locked(kvm, gfn, end, 1)


@kernel
def kvm_test_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """As ``kvm_age_gfn``, without changing anything."""
    return age_as_locked(kvm, gfn, end, 0)


@kernel
def kvm_arch_has_test_clear_young() -> u64:
    """Whether there is a fast path; the series has one, which refuses."""
    return LINUX_VERSION >= 615 or LINUX_VERSION == V2


@kernel
def kvm_arch_test_clear_young(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """Without the lock; there is no way to fill a bitmap."""
    if LINUX_VERSION == V2 or bitmap != NULL:
        return 1, 0
    return 0, kvm_age_gfn_lockless(kvm, gfn, end, clear)


@kernel
def kvm_arch_vcpu_runnable(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Whether ``vcpu`` has a root; out of guest mode it gets one."""
    if vcpu.arch.root != NULL:
        return 1
    if READ_ONCE(vcpu.mode) == IN_GUEST_MODE:
        return 0
    return kvm_mmu_load(kvm, vcpu) == 0


@kernel
def kvm_arch_flush_shadow_memslot(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> None:
    """All of the VM is unmapped, slot by slot."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    for i in range(kvm.n_slots):
        gone = addr(kvm.slots[i])
        if gone.npages:
            kvm_unmap_gfn_range(kvm, gone.base_gfn, gone.base_gfn + gone.npages)
    kvm_flush_remote_tlbs(kvm)
    kvm_mmu_unlock(kvm)
