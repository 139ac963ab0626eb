"""The hooks of KVM on x86 where the TDP MMU maps all of the guest.

Rules
-----
* A vCPU gets a root on its way into guest mode, out of which it looks whether the one it has
  was made invalid.
* Which version of aging there is, and whether it can do without ``mmu_lock``, is the kernel's
  to say (``spte.LINUX_VERSION``).

Source: arch/x86/kvm/mmu/mmu.c (``kvm_age_gfn``, ``kvm_unmap_gfn_range``, ``kvm_mmu_reload``),
x86.c (``vcpu_enter_guest``); v2: lore 20230526234435.662652-9-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.tlb import kvm_vcpu_of
from mkold.kvm.types import IN_GUEST_MODE, MemorySlot
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.mmu.spte import KVM_AD_ENABLED, LINUX_VERSION
from mkold.kvm.x86.tdp.age import (
    V2,
    kvm_tdp_mmu_age_locked,
    kvm_tdp_mmu_age_lockless,
)
from mkold.kvm.x86.tdp.iter import EXCLUSIVE
from mkold.kvm.x86.tdp.pages import kvm_init_mmu_page_cache
from mkold.kvm.x86.tdp.roots import (
    kvm_mmu_reload,
    kvm_tdp_mmu_invalidate_roots,
    kvm_tdp_mmu_put_root,
)
from mkold.kvm.x86.tdp.zap import (
    kvm_mmu_zap_all_fast,
    kvm_tdp_mmu_unmap_gfn_range,
    kvm_tdp_mmu_zap_invalidated_roots,
)
from mkold.lang import NULL, READ_ONCE, Ptr, addr, cast, kernel, u64
from mkold.sync.rcu import rcu_do_batch


@kernel
def kvm_arch_init() -> None:
    """Nothing to load."""


@kernel
def kvm_arch_init_vm(kvm: Ptr[Kvm]) -> u64:
    """A VM without a table: its vCPUs make the first."""
    kvm_init_mmu_page_cache(kvm)
    return 0


@kernel
def kvm_arch_destroy_vm(kvm: Ptr[Kvm]) -> None:
    """Zap and put all roots, those of the vCPUs too, and wait until they are free."""
    waits = addr(kvm.stat.lock_waits)
    kvm_mmu_lock(kvm, waits)
    kvm_tdp_mmu_invalidate_roots(kvm)
    kvm_tdp_mmu_zap_invalidated_roots(kvm, EXCLUSIVE, waits)
    kvm_mmu_unlock(kvm)
    for i in range(kvm.n_vcpus):
        vcpu = cast(Ptr[Vcpu], kvm_vcpu_of(kvm, i))
        if vcpu.arch.root != NULL:
            kvm_tdp_mmu_put_root(kvm, vcpu.arch.root)
            vcpu.arch.root = cast(Ptr[KvmMmuPage], NULL)
    rcu_do_batch()


@kernel
def kvm_unmap_gfn_range(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Unmap ``[gfn, end)`` by all roots; the caller flushes."""
    return kvm_tdp_mmu_unmap_gfn_range(kvm, gfn, end)


@kernel
def kvm_set_spte_gfn(kvm: Ptr[Kvm], gfn: u64, pfn: u64) -> u64:
    """The page is unmapped, and mapped anew by the next fault; ``pfn`` is not needed."""
    return kvm_tdp_mmu_unmap_gfn_range(kvm, gfn, gfn + 1)


@kernel
def kvm_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """Age ``[gfn, end)`` as the kernel's version does."""
    return kvm_tdp_mmu_age_locked(kvm, gfn, end, 1)


@kernel
def kvm_test_age_gfn(kvm: Ptr[Kvm], gfn: u64, end: u64) -> u64:
    """As ``kvm_age_gfn``, without changing anything."""
    return kvm_tdp_mmu_age_locked(kvm, gfn, end, 0)


@kernel
def kvm_arch_has_test_clear_young() -> u64:
    """6.15 ages without the lock, and so does the series, where the hardware has the bit."""
    return LINUX_VERSION >= 615 or (LINUX_VERSION == V2 and KVM_AD_ENABLED)


@kernel
def kvm_arch_test_clear_young(
    kvm: Ptr[Kvm], gfn: u64, end: u64, clear: u64, bitmap: Ptr[u64], last_bit: u64
) -> tuple[u64, u64]:
    """Without the lock; the series' version refuses once a shadow root was allocated."""
    if LINUX_VERSION == V2 and READ_ONCE(kvm.arch.shadow_root_allocated):
        return 1, 0
    return 0, kvm_tdp_mmu_age_lockless(kvm, gfn, end, clear, bitmap, last_bit)


@kernel
def kvm_arch_vcpu_runnable(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Whether ``vcpu`` has a valid root; out of guest mode it gets one."""
    root = vcpu.arch.root
    if root != NULL and not READ_ONCE(root.invalid):
        return 1
    if READ_ONCE(vcpu.mode) == IN_GUEST_MODE:
        return 0
    return kvm_mmu_reload(kvm, vcpu) == 0


@kernel
def kvm_arch_flush_shadow_memslot(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> None:
    """All of the VM is unmapped: its root is no longer valid, and vCPUs take a new one."""
    kvm_mmu_zap_all_fast(kvm, addr(kvm.stat.lock_waits))
