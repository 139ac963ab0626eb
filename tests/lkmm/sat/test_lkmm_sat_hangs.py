"""Threads that wait for ever, and those that only seem to."""

from __future__ import annotations

import pytest
from kernel_text import program

from mkold.lkmm import Status, decide

IMPORTS = """
from mkold.lang import (
    READ_ONCE, WRITE_ONCE, Ptr, Struct, cast, cmpxchg_release, cpu_relax, kernel,
    rcu_read_lock, rcu_read_unlock, read_lock, read_unlock, rwlock_t, smp_load_acquire,
    smp_mb, smp_store_mb, smp_store_release, spin_lock, spin_unlock, spinlock_t,
    srcu_read_lock, srcu_read_unlock, synchronize_rcu, synchronize_srcu, u64,
    write_lock, write_unlock, xchg, xchg_acquire,
)
"""
TEXT = (
    IMPORTS
    + """
@kernel
def wait(flag: Ptr[u64]) -> None:
    while not READ_ONCE(flag.value):
        cpu_relax()

@kernel
def send(flag: Ptr[u64]) -> None:
    WRITE_ONCE(flag.value, 1)

@kernel
def send_and_take_back(flag: Ptr[u64]) -> None:
    WRITE_ONCE(flag.value, 1)
    WRITE_ONCE(flag.value, 0)

@kernel
def wait_then_send(flag: Ptr[u64], other: Ptr[u64]) -> None:
    while not READ_ONCE(flag.value):
        cpu_relax()
    WRITE_ONCE(other.value, 1)

@kernel
def take(lock: Ptr[spinlock_t], x: Ptr[u64]) -> None:
    spin_lock(lock.value)
    WRITE_ONCE(x.value, 1)
    spin_unlock(lock.value)

@kernel
def keep(lock: Ptr[spinlock_t]) -> None:
    spin_lock(lock.value)

@kernel
def both(one: Ptr[spinlock_t], two: Ptr[spinlock_t]) -> None:
    spin_lock(one.value)
    spin_lock(two.value)
    spin_unlock(two.value)
    spin_unlock(one.value)

@kernel
def under(outer: Ptr[spinlock_t], one: Ptr[spinlock_t], two: Ptr[spinlock_t]) -> None:
    spin_lock(outer.value)
    spin_lock(one.value)
    spin_lock(two.value)
    spin_unlock(two.value)
    spin_unlock(one.value)
    spin_unlock(outer.value)

@kernel
def read_twice(lock: Ptr[rwlock_t]) -> None:
    read_lock(lock.value)
    read_lock(lock.value)
    read_unlock(lock.value)
    read_unlock(lock.value)

@kernel
def write_once(lock: Ptr[rwlock_t]) -> None:
    write_lock(lock.value)
    write_unlock(lock.value)

@kernel
def read_and_keep(lock: Ptr[rwlock_t]) -> None:
    read_lock(lock.value)

@kernel
def reader_waits(flag: Ptr[u64]) -> None:
    rcu_read_lock()
    while not READ_ONCE(flag.value):
        cpu_relax()
    rcu_read_unlock()

@kernel
def sync_then_send(flag: Ptr[u64]) -> None:
    synchronize_rcu()
    WRITE_ONCE(flag.value, 1)

@kernel
def send_then_sync(flag: Ptr[u64]) -> None:
    WRITE_ONCE(flag.value, 1)
    synchronize_rcu()

@kernel
def sync_inside() -> None:
    rcu_read_lock()
    synchronize_rcu()
    rcu_read_unlock()

@kernel
def srcu_waits(s: Ptr[u64], flag: Ptr[u64]) -> None:
    idx = srcu_read_lock(s.value)
    while not READ_ONCE(flag.value):
        cpu_relax()
    srcu_read_unlock(s.value, idx)

@kernel
def srcu_then_send(s: Ptr[u64], flag: Ptr[u64]) -> None:
    synchronize_srcu(s.value)
    WRITE_ONCE(flag.value, 1)

@kernel
def bounce(flag: Ptr[u64]) -> None:
    while True:
        seen = READ_ONCE(flag.value)
        if seen == 2:
            break
        again = READ_ONCE(flag.value)
"""
)


@pytest.mark.parametrize(
    ("calls", "hangs"),
    [
        (("wait(f)", "send(f)"), False),
        (("wait(f)",), True),
        (("wait(f)", "send_and_take_back(f)"), True),
        (("wait_then_send(f, g)", "wait_then_send(g, f)"), True),
        (("wait_then_send(f, g)", "wait_then_send(g, h)", "send(f)"), False),
        (("take(l, x)", "take(l, x)"), False),
        (("keep(l)", "take(l, x)"), True),
        (("keep(l)",), False),
        (("both(l, m)", "both(m, l)"), True),
        (("both(l, m)", "both(l, m)"), False),
        (("under(n, l, m)", "under(n, m, l)"), False),
        (("read_twice(l)", "write_once(l)"), False),
        (("read_and_keep(l)", "write_once(l)"), True),
        (("read_and_keep(l)", "read_and_keep(l)"), False),
        (("reader_waits(f)", "sync_then_send(f)"), True),
        (("reader_waits(f)", "send_then_sync(f)"), False),
        (("sync_inside()",), True),
        (("srcu_waits(s, f)", "srcu_then_send(s, f)"), True),
        (("srcu_waits(s, f)", "srcu_then_send(t, f)"), False),
        (("bounce(f)", "send(f)"), True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_hang(calls: tuple[str, ...], hangs: bool) -> None:
    verdict = decide(program(TEXT, *calls), engine="sat", witness=True)
    assert verdict.status is Status.OK
    assert ("hang" in verdict.flags) is hangs
    assert ("hang" in verdict.flagged) is hangs


MCS = (
    IMPORTS
    + """
class Node(Struct):
    next: "Ptr[Node]"
    locked: u64

@kernel
def add(tail: Ptr[u64], data: Ptr[u64], node: Ptr[Node]) -> None:
    WRITE_ONCE(node.next, 0)
    WRITE_ONCE(node.locked, 0)
    prev = cast(Ptr[Node], EXCHANGE(tail.value, cast(u64, node)))
    if prev:
        WRITE_ONCE(prev.next, node)
        while smp_load_acquire(node.locked) == 0:
            cpu_relax()
    data.value += 1
    next = READ_ONCE(node.next)
    if not next:
        if cmpxchg_release(tail.value, cast(u64, node), 0) == cast(u64, node):
            return
        while True:
            next = READ_ONCE(node.next)
            if next:
                break
            cpu_relax()
    HAND_OVER
"""
)


@pytest.mark.parametrize(
    ("exchange", "hand_over", "flags"),
    [
        ("xchg", "smp_store_release(next.locked, 1)", set()),
        ("xchg_acquire", "smp_store_release(next.locked, 1)", {"hang"}),
        ("xchg", "WRITE_ONCE(next.locked, 1)", {"data-race"}),
        ("xchg", "cpu_relax()", {"hang"}),
    ],
)
def test_mcs_lock(exchange: str, hand_over: str, flags: set[str]) -> None:
    text = MCS.replace("EXCHANGE", exchange).replace("HAND_OVER", hand_over)
    made = program(text, "add(t, d, a)", "add(t, d, b)", observed="d")
    verdict = decide(made, engine="sat")
    assert verdict.status is Status.OK
    assert set(verdict.flags) == flags
    if not flags:
        assert verdict.states == ((2,),)


RING = (
    IMPORTS
    + """
@kernel
def walk(head: Ptr[u64]) -> None:
    p = cast(Ptr[u64], READ_ONCE(head.value))
    while p:
        p = cast(Ptr[u64], READ_ONCE(p.value))

@kernel
def add_up(head: Ptr[u64]) -> u64:
    total: u64 = 0
    p = cast(Ptr[u64], READ_ONCE(head.value))
    while p:
        total += p[1]
        p = cast(Ptr[u64], READ_ONCE(p.value))
    return total

@kernel
def count_to(head: Ptr[u64]) -> u64:
    total: u64 = 0
    p = cast(Ptr[u64], READ_ONCE(head.value))
    while p and total < 9:
        total += 1
        p = cast(Ptr[u64], READ_ONCE(p.value))
    return total

@kernel
def close(last: Ptr[u64], first: Ptr[u64]) -> None:
    WRITE_ONCE(last.value, cast(u64, first))
"""
)


@pytest.mark.parametrize(
    ("walk", "hangs"), [("walk(h)", True), ("add_up(h)", True), ("count_to(h)", False)]
)
def test_going_round_a_ring_of_pointers(walk: str, hangs: bool) -> None:
    made = program(RING, walk, "close(b, a)", init={"h": "a", "a": "b"})
    assert ("hang" in decide(made, engine="sat", max_unroll=12).flags) == hangs
    open_list = program(RING, walk, "close(c, a)", init={"h": "a", "a": "b"})
    assert decide(open_list, engine="sat", max_unroll=6).flags == ()
