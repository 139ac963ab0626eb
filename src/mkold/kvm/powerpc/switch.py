"""Mode switches between the radix tree and the hash table, and both tables' lives.

Order of ``kvmppc_switch_mmu_to_hpt``: guests of the guest released, rmap words reset, flag off
(under ``mmu_lock``), grace period, tree freed, its root NULL last. Then
``kvmppc_alloc_reset_hpt`` makes a table.
Order of ``kvmppc_switch_mmu_to_radix``: root allocated and zeroed, rmap words reset,
``smp_wmb``, flag on (under ``mmu_lock``); at last the hash table is freed.

``kvmhv_configure_mmu`` is the way in: it stops the vCPUs (``mmu_ready`` off, kick, wait until
all are out of guest mode and none is at the hash table), switches, and lets them go on when
there is a table. ``kvm_vm_ioctl_allocate_htab`` gives a VM an empty hash table likewise.

Whoever else uses the tree holds ``mmu_lock`` and looks at the flag first (faults, unmapping,
the slow path), or is an RCU reader that looked at the flag (the fast path, the dirty log).
Whoever else uses the hash table is a stopped vCPU, or holds ``mmu_lock`` and comes through an
rmap word.

Known limits: a switch forgets R and C of all entries, as in the kernel: a page that was
written since the log was last read may be in no log.

Sources: arch/powerpc/kvm/book3s_hv.c (``kvmppc_switch_mmu_to_hpt/radix``,
``kvmhv_configure_mmu``); the grace period and the barrier: lore
20230526234435.662652-8-yuzhao@google.com.
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_lock, kvm_mmu_unlock
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.cputable import kvmhv_on_pseries, radix_enabled
from mkold.kvm.powerpc.hash.hpt import (
    hpt_order_wanted,
    kvmppc_alloc_reset_hpt,
    kvmppc_free_hpt,
)
from mkold.kvm.powerpc.hash.rmap import kvmppc_rmap_reset
from mkold.kvm.powerpc.nested.enter import kvmhv_release_all_nested
from mkold.kvm.powerpc.radix.tables import alloc_table, kvmppc_free_radix
from mkold.kvm.tlb import kvm_make_request, kvm_vcpu_of
from mkold.kvm.types import IN_GUEST_MODE, REQ_KICK, REQ_TLB_FLUSH_ALL
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    cpu_relax,
    kernel,
    mutex_lock,
    mutex_unlock,
    smp_load_acquire,
    smp_mb,
    smp_store_release,
    smp_wmb,
    synchronize_rcu,
    u64,
)

LPCR_UPRT_GTSE_HR = 1 << 20  # host radix on


@kernel
def set_radix_mode(kvm: Ptr[Kvm], radix: u64) -> None:
    """Write the mode flag, under ``mmu_lock``."""
    kvm_mmu_lock(kvm, addr(kvm.stat.lock_waits))
    WRITE_ONCE(kvm.arch.radix, radix)
    kvm_mmu_unlock(kvm)


@kernel
def kvmppc_init_vm_radix(kvm: Ptr[Kvm]) -> u64:
    """Give the VM an empty tree; 0, or 1 if there is no memory."""
    pgtable = alloc_table(kvm, 3)
    if pgtable == NULL:
        return 1
    WRITE_ONCE(kvm.arch.pgtable, pgtable)
    return 0


@kernel
def kvmppc_switch_mmu_to_hpt(kvm: Ptr[Kvm]) -> None:
    """Leave radix mode; no vCPU is in guest mode. Sleeps for a grace period."""
    kvmhv_release_all_nested(kvm)
    kvmppc_rmap_reset(kvm)
    WRITE_ONCE(kvm.arch.process_table, 0)
    set_radix_mode(kvm, 0)
    synchronize_rcu()  # fast-path walkers that saw the flag on are gone
    kvmppc_free_radix(kvm)
    kvm.arch.lpcr &= ~LPCR_UPRT_GTSE_HR


@kernel
def kvmppc_switch_mmu_to_radix(kvm: Ptr[Kvm]) -> u64:
    """Enter radix mode; no vCPU is in guest mode. 0, or 1 if there is no memory."""
    if kvmppc_init_vm_radix(kvm):
        return 1
    kvmppc_rmap_reset(kvm)
    smp_wmb()  # pairs with smp_rmb() in kvm_arch_test_clear_young()
    set_radix_mode(kvm, 1)
    kvmppc_free_hpt(kvm)
    kvm.arch.lpcr |= LPCR_UPRT_GTSE_HR
    return 0


@kernel
def kvm_stop_vcpus(kvm: Ptr[Kvm]) -> None:
    """No vCPU is in guest mode or at the hash table from here until ``mmu_ready`` is set."""
    WRITE_ONCE(kvm.arch.mmu_ready, 0)
    smp_mb()  # pairs with the ones in kvm_vcpu_load and in kvmppc_hash_page_fault
    n = smp_load_acquire(kvm.n_vcpus)
    for i in range(n):
        kvm_make_request(kvm_vcpu_of(kvm, i), REQ_KICK | REQ_TLB_FLUSH_ALL)
    for i in range(n):
        while smp_load_acquire(kvm_vcpu_of(kvm, i).mode) == IN_GUEST_MODE:
            cpu_relax()
    while smp_load_acquire(kvm.arch.vcpus_running) != 0:
        cpu_relax()


@kernel
def kvmhv_enter_mode(kvm: Ptr[Kvm], radix: u64) -> u64:
    """Into that mode, with a table; no vCPU runs. 0, or 1 if there is no memory."""
    now = READ_ONCE(kvm.arch.radix)
    if radix:
        return 0 if now else kvmppc_switch_mmu_to_radix(kvm)
    if now:
        kvmppc_switch_mmu_to_hpt(kvm)
    elif kvm.arch.hpt.virt != NULL:
        return 0
    return kvmppc_alloc_reset_hpt(kvm, hpt_order_wanted(kvm))


@kernel
def kvmhv_configure_mmu(kvm: Ptr[Kvm], radix: u64) -> u64:
    """Switch the VM's mode while it runs: ``radix`` 1 or 0.

    Returns
    -------
    0, or 1: this host can't (radix only in radix mode, hash only on bare metal), or there is
    no memory for a table (the VM stays stopped then)

    Ordering
    --------
    Sleeps; the caller holds no lock and is no vCPU in guest mode.
    """
    if (radix and not radix_enabled()) or (not radix and kvmhv_on_pseries()):
        return 1
    mutex_lock(kvm.arch.mmu_setup_lock)
    if READ_ONCE(kvm.arch.radix) != radix:
        kvm_stop_vcpus(kvm)
    failed = kvmhv_enter_mode(kvm, radix)
    if not failed:
        smp_store_release(kvm.arch.mmu_ready, 1)
    mutex_unlock(kvm.arch.mmu_setup_lock)
    return failed


@kernel
def kvm_vm_ioctl_allocate_htab(kvm: Ptr[Kvm], order: u64) -> u64:
    """KVM_PPC_ALLOCATE_HTAB: an empty hash table of that order, out of radix mode if need be.

    Returns, sleeps and asks of its caller as ``kvmhv_configure_mmu``.
    """
    mutex_lock(kvm.arch.mmu_setup_lock)
    kvm_stop_vcpus(kvm)
    if READ_ONCE(kvm.arch.radix):
        kvmppc_switch_mmu_to_hpt(kvm)
    failed = kvmppc_alloc_reset_hpt(kvm, order)
    if not failed:
        smp_store_release(kvm.arch.mmu_ready, 1)
    mutex_unlock(kvm.arch.mmu_setup_lock)
    return failed
