"""Locks that queue: ticket and MCS. (The kernel's own is `docs/findings/qspinlock.py`.)"""

from __future__ import annotations

from mkold.check import Scenario, Setup
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    atomic64_fetch_add_relaxed,
    atomic64_t,
    cmpxchg_release,
    cpu_relax,
    kernel,
    smp_load_acquire,
    smp_store_release,
    u64,
    xchg,
)


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
