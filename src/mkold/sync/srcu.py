"""Sleepable RCU: grace periods of one structure, readers counted by CPU.

Rules
-----
* A reader adds one to its CPU's ``lock`` count of the current index, and when it leaves,
  perhaps on another CPU, one to that CPU's ``unlock`` count of the same index.
* An index has no readers when the sum of ``unlock``, read first, equals the sum of
  ``lock``, read after an ``smp_mb()``.
* A grace period waits for the other index, flips, and waits for the old one.

Source: kernel/rcu/srcutree.c (srcu_readers_active_idx_check, srcu_flip).

Known limits: at most ``MAX_CPUS`` CPUs.
"""

from __future__ import annotations

from mkold.ir.boot import MAX_CPUS
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Ptr,
    Struct,
    addr,
    cpu_relax,
    kernel,
    smp_mb,
    smp_processor_id,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
)
from mkold.sync.rcu import NR_CPUS


class SrcuCpu(Struct):
    """One CPU's line."""

    locks: Array[u64, 2]
    unlocks: Array[u64, 2]
    pad: Array[u64, 4]


class SrcuStruct(Struct):
    """``struct srcu_struct``; all zero at first."""

    index: u64
    gp_lock: spinlock_t
    pad: Array[u64, 6]
    cpus: Array[SrcuCpu, MAX_CPUS]


@kernel
def __srcu_read_lock(srcu: Ptr[SrcuStruct]) -> u64:
    """``srcu_read_lock``: the index to give to the unlock."""
    index = READ_ONCE(srcu.index) & 1
    this = addr(srcu.cpus[smp_processor_id()])
    WRITE_ONCE(this.locks[index], READ_ONCE(this.locks[index]) + 1)
    smp_mb()
    return index


@kernel
def __srcu_read_unlock(srcu: Ptr[SrcuStruct], index: u64) -> None:
    """``srcu_read_unlock``."""
    this = addr(srcu.cpus[smp_processor_id()])
    smp_mb()
    WRITE_ONCE(this.unlocks[index], READ_ONCE(this.unlocks[index]) + 1)


@kernel
def srcu_readers_active(srcu: Ptr[SrcuStruct], index: u64) -> bool:
    """Whether a reader may hold ``index``."""
    unlocks = 0
    for cpu in range(NR_CPUS):
        unlocks += READ_ONCE(srcu.cpus[cpu].unlocks[index])
    smp_mb()
    locks = 0
    for cpu in range(NR_CPUS):
        locks += READ_ONCE(srcu.cpus[cpu].locks[index])
    return locks != unlocks


@kernel
def __synchronize_srcu(srcu: Ptr[SrcuStruct]) -> None:
    """``synchronize_srcu``."""
    smp_mb()
    spin_lock(srcu.gp_lock)
    index = READ_ONCE(srcu.index) & 1
    while srcu_readers_active(srcu, index ^ 1):
        cpu_relax()
    smp_mb()
    WRITE_ONCE(srcu.index, index ^ 1)
    smp_mb()
    while srcu_readers_active(srcu, index):
        cpu_relax()
    spin_unlock(srcu.gp_lock)
    smp_mb()
