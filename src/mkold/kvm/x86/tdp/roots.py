"""The VM's root tables: a list under RCU, references, and roots that are invalid.

Rules
-----
* A root is born with two references, one of the vCPU that needed it and one of the VM. Other
  vCPUs take the first valid one in the list.
* The list changes under ``tdp_mmu_pages_lock``. A root leaves it with its last reference, and
  is freed after a grace period; so a walker under RCU may step on from any root that it met.
* A root is made invalid under ``mmu_lock`` held for writing, and vCPUs are told there to take
  another and to forget their translations; whoever told them waits until they have left. Then
  it is zapped, and the VM's reference is put after that.
* Who may yield holds a reference of the root that it is in.

Sources: arch/x86/kvm/mmu/tdp_mmu.c (``kvm_tdp_mmu_alloc_root``, ``tdp_mmu_next_root``,
``kvm_tdp_mmu_put_root``, ``kvm_tdp_mmu_invalidate_roots``); commit 7533377215b6 (yield-safe).
Known limits: one address space; no root for a guest of the guest; list links one way.
"""

from __future__ import annotations

from mkold.kvm.mmu_lock import kvm_mmu_read_lock, kvm_mmu_read_unlock
from mkold.kvm.tlb import kvm_make_all_request, kvm_make_request, kvm_vcpu_of
from mkold.kvm.types import REQ_KICK, REQ_TLB_FLUSH_ALL
from mkold.kvm.x86.asm.kvm_host import Kvm, KvmMmuPage, Vcpu
from mkold.kvm.x86.mmu.spte import ROOT_LEVEL
from mkold.kvm.x86.tdp.pages import (
    tdp_account_mmu_page,
    tdp_mmu_alloc_sp,
    tdp_mmu_free_sp_after_readers,
    tdp_unaccount_mmu_page,
)
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    addr,
    atomic_dec_and_test,
    atomic_inc_not_zero,
    kernel,
    parameter,
    rcu_dereference,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    smp_store_release,
    spin_lock,
    spin_unlock,
    u64,
)

# 0 walks roots that may be freed while it yields: a fault of its time (7533377215b6).
ROOT_REFERENCED = parameter("ROOT_REFERENCED", 1)
# 0 tells vCPUs to take another root and does not wait until they have left: a seeded fault.
RELOAD_WAITS = parameter("RELOAD_WAITS", 1)


@kernel
def kvm_tdp_mmu_get_root(root: Ptr[KvmMmuPage]) -> bool:
    """Take a reference, unless the last one was put."""
    return atomic_inc_not_zero(root.tdp_mmu_root_count)


@kernel
def tdp_mmu_unlink_root(kvm: Ptr[Kvm], root: Ptr[KvmMmuPage]) -> None:
    """Take a root out of the list; who is at it may step on."""
    spin_lock(kvm.arch.tdp_mmu_pages_lock)
    at = READ_ONCE(kvm.arch.tdp_mmu_roots)
    if at == root:
        WRITE_ONCE(kvm.arch.tdp_mmu_roots, READ_ONCE(root.link))
    else:
        while READ_ONCE(at.link) != root:
            at = READ_ONCE(at.link)
        WRITE_ONCE(at.link, READ_ONCE(root.link))
    spin_unlock(kvm.arch.tdp_mmu_pages_lock)


@kernel
def kvm_tdp_mmu_put_root(kvm: Ptr[Kvm], root: Ptr[KvmMmuPage]) -> None:
    """Put a reference; with the last one the root goes."""
    if not atomic_dec_and_test(root.tdp_mmu_root_count):
        return
    tdp_mmu_unlink_root(kvm, root)
    tdp_unaccount_mmu_page(kvm)
    tdp_mmu_free_sp_after_readers(root)


@kernel
def tdp_mmu_find_root(kvm: Ptr[Kvm]) -> Ptr[KvmMmuPage]:
    """A valid root, with a reference; or NULL. ``mmu_lock`` is held."""
    at = rcu_dereference(kvm.arch.tdp_mmu_roots)
    while at != NULL:
        if not READ_ONCE(at.invalid) and kvm_tdp_mmu_get_root(at):
            return at
        at = rcu_dereference(at.link)
    return at


@kernel
def tdp_mmu_add_root(kvm: Ptr[Kvm]) -> Ptr[KvmMmuPage]:
    """A new root in the list, with the VM's reference and the caller's; or NULL.
    ``tdp_mmu_pages_lock`` is held."""
    root = tdp_mmu_alloc_sp(kvm, ROOT_LEVEL, 0)
    if root == NULL:
        return root
    root.tdp_mmu_root_count = 2
    root.link = READ_ONCE(kvm.arch.tdp_mmu_roots)
    smp_store_release(kvm.arch.tdp_mmu_roots, root)
    tdp_account_mmu_page(kvm)
    return root


@kernel
def kvm_tdp_mmu_alloc_root(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """Give ``vcpu``, which has none, a valid root; 0, or 1 if there is no memory."""
    kvm_mmu_read_lock(kvm, addr(vcpu.stat.lock_waits))
    spin_lock(kvm.arch.tdp_mmu_pages_lock)
    root = tdp_mmu_find_root(kvm)
    if root == NULL:
        root = tdp_mmu_add_root(kvm)
    spin_unlock(kvm.arch.tdp_mmu_pages_lock)
    kvm_mmu_read_unlock(kvm)
    vcpu.arch.root = root
    return root == NULL


@kernel
def kvm_mmu_reload(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu]) -> u64:
    """See to it that ``vcpu``, out of guest mode, has a valid root; 0, or 1: no memory."""
    root = vcpu.arch.root
    if root != NULL:
        if not READ_ONCE(root.invalid):
            return 0
        vcpu.arch.root = NULL
        kvm_tdp_mmu_put_root(kvm, root)
    return kvm_tdp_mmu_alloc_root(kvm, vcpu)


@kernel
def tdp_mmu_next_root(kvm: Ptr[Kvm], prev: Ptr[KvmMmuPage], only_valid: u64) -> Ptr[KvmMmuPage]:
    """The root behind ``prev`` (the first one behind NULL), with a reference, or NULL; puts the
    one of ``prev``."""
    rcu_read_lock()
    at = prev
    if prev == NULL:
        at = rcu_dereference(kvm.arch.tdp_mmu_roots)
    else:
        at = rcu_dereference(prev.link)
    while at != NULL:
        wanted = not (only_valid and READ_ONCE(at.invalid))
        if wanted and (not ROOT_REFERENCED or kvm_tdp_mmu_get_root(at)):
            break
        at = rcu_dereference(at.link)
    rcu_read_unlock()
    if prev != NULL and ROOT_REFERENCED:
        kvm_tdp_mmu_put_root(kvm, prev)
    return at


@kernel
def kvm_tdp_mmu_invalidate_roots(kvm: Ptr[Kvm]) -> None:
    """No root is valid any more, and vCPUs are told; ``mmu_lock`` is held for writing."""
    at = rcu_dereference(kvm.arch.tdp_mmu_roots)
    while at != NULL:
        if not READ_ONCE(at.invalid):
            WRITE_ONCE(at.tdp_mmu_scheduled_root_to_zap, 1)
            WRITE_ONCE(at.invalid, 1)
        at = rcu_dereference(at.link)
    request = REQ_KICK | REQ_TLB_FLUSH_ALL
    if RELOAD_WAITS:
        kvm_make_all_request(kvm, request)
        return
    for i in range(smp_load_acquire(kvm.n_vcpus)):
        kvm_make_request(kvm_vcpu_of(kvm, i), request)
