"""Locks that queue: ticket, MCS, and the kernel's queued spinlock with its state in one word.

Source of the last: kernel/locking/qspinlock.c, as described there and in qspinlock_types.h:
bit 0 is the lock, bit 8 pending, the tail counts from bit 16 on. The kernel releases by a
store to the lowest byte and clears pending by one to the second; here each is a
read-modify-write of the word.
"""

from __future__ import annotations

from mkold.check import Scenario, Setup
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    atomic64_cmpxchg_acquire,
    atomic64_fetch_add_relaxed,
    atomic64_fetch_andnot_relaxed,
    atomic64_fetch_andnot_release,
    atomic64_fetch_or_acquire,
    atomic64_fetch_or_relaxed,
    atomic64_read,
    atomic64_read_acquire,
    atomic64_t,
    atomic64_try_cmpxchg_relaxed,
    cast,
    cmpxchg_release,
    cpu_relax,
    kernel,
    smp_load_acquire,
    smp_store_release,
    smp_wmb,
    u64,
    xchg,
)

LOCKED, PENDING, TAIL_SHIFT = 1, 0x100, 16
BELOW_TAIL = 0xFFFF


class TicketLock(Struct):
    next: atomic64_t
    owner: u64
    counter: u64


class McsNode(Struct):
    next: Ptr[McsNode]
    locked: u64


class McsLock(Struct):
    tail: Ptr[McsNode]
    counter: u64


class QueuedLock(Struct):
    val: atomic64_t
    counter: u64


@kernel
def ticket_add(lock: Ptr[TicketLock]) -> None:
    ticket = atomic64_fetch_add_relaxed(lock.next, 1)
    while smp_load_acquire(lock.owner) != ticket:
        cpu_relax()
    lock.counter += 1
    smp_store_release(lock.owner, ticket + 1)


@kernel
def mcs_add(lock: Ptr[McsLock], node: Ptr[McsNode]) -> None:
    WRITE_ONCE(node.next, NULL)
    WRITE_ONCE(node.locked, 0)
    prev = xchg(lock.tail, node)
    if prev != NULL:
        WRITE_ONCE(prev.next, node)
        while smp_load_acquire(node.locked) == 0:
            cpu_relax()
    lock.counter += 1
    next = READ_ONCE(node.next)
    if next == NULL:
        if cmpxchg_release(lock.tail, node, NULL) == node:
            return
        while next == NULL:
            cpu_relax()
            next = READ_ONCE(node.next)
    smp_store_release(next.locked, 1)


@kernel
def queued_unlock(lock: Ptr[QueuedLock]) -> None:
    atomic64_fetch_andnot_release(lock.val, LOCKED)


@kernel
def queued_xchg_tail(lock: Ptr[QueuedLock], tail: u64) -> u64:
    old = atomic64_read(lock.val)
    while True:
        done, old = atomic64_try_cmpxchg_relaxed(lock.val, old, (old & BELOW_TAIL) | tail)
        if done:
            return old


@kernel
def queued_slowpath(lock: Ptr[QueuedLock], nodes: Ptr[McsNode], me: u64) -> None:
    """Queue up, wait to be the head, wait for owner and pending to go."""
    node = nodes + me
    tail = (me + 1) << TAIL_SHIFT
    WRITE_ONCE(node.locked, 0)
    WRITE_ONCE(node.next, NULL)
    smp_wmb()
    old = queued_xchg_tail(lock, tail)
    next = cast(Ptr[McsNode], 0)
    if old & ~BELOW_TAIL:
        prev = nodes + ((old >> TAIL_SHIFT) - 1)
        WRITE_ONCE(prev.next, node)
        while smp_load_acquire(node.locked) == 0:
            cpu_relax()
        next = READ_ONCE(node.next)
    val = atomic64_read_acquire(lock.val)
    while val & BELOW_TAIL:
        cpu_relax()
        val = atomic64_read_acquire(lock.val)
    if val == tail:
        done, val = atomic64_try_cmpxchg_relaxed(lock.val, val, LOCKED)
        if done:
            return
    atomic64_fetch_or_relaxed(lock.val, LOCKED)
    while next == NULL:
        cpu_relax()
        next = READ_ONCE(node.next)
    smp_store_release(next.locked, 1)


@kernel
def queued_lock(lock: Ptr[QueuedLock], nodes: Ptr[McsNode], me: u64) -> None:
    val = atomic64_cmpxchg_acquire(lock.val, 0, LOCKED)
    if val == 0:
        return
    if val & ~LOCKED == 0:
        val = atomic64_fetch_or_acquire(lock.val, PENDING)
        if val & ~LOCKED == 0:
            while atomic64_read_acquire(lock.val) & LOCKED:
                cpu_relax()
            atomic64_fetch_add_relaxed(lock.val, LOCKED - PENDING)
            return
        if val & PENDING == 0:
            atomic64_fetch_andnot_relaxed(lock.val, PENDING)
    queued_slowpath(lock, nodes, me)


@kernel
def queued_add(lock: Ptr[QueuedLock], nodes: Ptr[McsNode], me: u64) -> None:
    queued_lock(lock, nodes, me)
    lock.counter += 1
    queued_unlock(lock)


def _counts(m: Setup, counter: int, n: int) -> None:
    m.watch("counter", counter)
    m.never("lost-update", lambda end: end["counter"] != n, "An addition was lost.")


def ticket(n: int) -> Scenario:
    """``n`` threads add under a ticket lock."""

    def setup(m: Setup) -> None:
        lock = m.new(TicketLock, "lock")
        for i in range(n):
            m.thread(f"T{i}", (ticket_add, lock))
        _counts(m, lock + TicketLock.offset("counter"), n)

    return Scenario(f"ticket-{n}", setup)


def mcs(n: int) -> Scenario:
    """``n`` threads add under an MCS lock."""

    def setup(m: Setup) -> None:
        lock = m.new(McsLock, "lock")
        for i in range(n):
            m.thread(f"T{i}", (mcs_add, lock, m.new(McsNode, f"node{i}")))
        _counts(m, lock + McsLock.offset("counter"), n)

    return Scenario(f"mcs-{n}", setup)


def qspinlock(n: int) -> Scenario:
    """``n`` threads add under a queued spinlock."""

    def setup(m: Setup) -> None:
        lock = m.new(QueuedLock, "lock")
        nodes = m.new(McsNode, count=n)
        for i in range(n):
            m.thread(f"T{i}", (queued_add, lock, nodes, i))
        _counts(m, lock + QueuedLock.offset("counter"), n)

    return Scenario(f"qspinlock-{n}", setup)
