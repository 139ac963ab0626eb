"""``mmu_lock``, taken so that the time lost waiting for it is known.

It is a spinlock, or where ``KVM_HAVE_MMU_RWLOCK`` is 1 a reader-writer lock: ``kvm_mmu_lock``
takes it for writing then, ``kvm_mmu_read_lock`` for reading.

``waits`` points to two words of the caller's: how often it waited and for how many cycles.
The free lock costs one trylock; nobody reads a clock unless they wait.

Source: KVM_MMU_LOCK and KVM_HAVE_MMU_RWLOCK in virt/kvm/kvm_mm.h.
"""

from __future__ import annotations

from mkold.kvm.types import LOCK_STAT, Kvm
from mkold.lang import (
    Ptr,
    get_cycles,
    kernel,
    parameter,
    read_lock,
    read_trylock,
    read_unlock,
    spin_lock,
    spin_trylock,
    spin_unlock,
    u64,
    write_lock,
    write_trylock,
    write_unlock,
)

KVM_HAVE_MMU_RWLOCK = parameter("KVM_HAVE_MMU_RWLOCK", 0)


@kernel
def mmu_trylock(kvm: Ptr[Kvm]) -> bool:
    """Take ``mmu_lock``, for writing, if it is free."""
    if KVM_HAVE_MMU_RWLOCK:
        return write_trylock(kvm.mmu_rwlock)
    return spin_trylock(kvm.mmu_lock)


@kernel
def mmu_lock_and_wait(kvm: Ptr[Kvm]) -> None:
    """Take ``mmu_lock``, for writing."""
    if KVM_HAVE_MMU_RWLOCK:
        write_lock(kvm.mmu_rwlock)
    else:
        spin_lock(kvm.mmu_lock)


@kernel
def kvm_mmu_lock(kvm: Ptr[Kvm], waits: Ptr[u64]) -> None:
    """Take ``mmu_lock``; ``waits`` is the caller's own or guarded by the lock."""
    if LOCK_STAT:
        if not mmu_trylock(kvm):
            start = get_cycles()
            mmu_lock_and_wait(kvm)
            waits[0] += 1
            waits[1] += get_cycles() - start
    else:
        mmu_lock_and_wait(kvm)


@kernel
def kvm_mmu_unlock(kvm: Ptr[Kvm]) -> None:
    """Release ``mmu_lock``."""
    if KVM_HAVE_MMU_RWLOCK:
        write_unlock(kvm.mmu_rwlock)
    else:
        spin_unlock(kvm.mmu_lock)


@kernel
def kvm_mmu_read_lock(kvm: Ptr[Kvm], waits: Ptr[u64]) -> None:
    """Take ``mmu_lock`` for reading; ``waits`` is the caller's own. Only where it can be."""
    if LOCK_STAT:
        if not read_trylock(kvm.mmu_rwlock):
            start = get_cycles()
            read_lock(kvm.mmu_rwlock)
            waits[0] += 1
            waits[1] += get_cycles() - start
    else:
        read_lock(kvm.mmu_rwlock)


@kernel
def kvm_mmu_read_unlock(kvm: Ptr[Kvm]) -> None:
    """Release ``mmu_lock``, which was taken for reading."""
    read_unlock(kvm.mmu_rwlock)
