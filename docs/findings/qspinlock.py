"""The kernel's queued spinlock, from its description: does it exclude, and does it end?

One word ``val``: byte 0 is the lock, bit 8 says that a CPU waits in place (pending), the tail
counts CPUs from bit 16 on. Each CPU that queues waits on a node of its own, as in an MCS lock.
This is the form for many CPUs, where the tail shares its half of the word with the pending bit
and is exchanged by a loop of compare-and-swap; ``locked`` is stored by its byte in both forms.

    mkold check docs/findings/qspinlock.py --explain

Not here: nesting (each CPU has one node), paravirtual hooks, prefetching. A store of one byte
is a change of the whole word (LKMM knows no mixed sizes), and the loop that waits a little for
a pending CPU to take over is left out: it has no order and decides nothing.
"""

from mkold.check import Case, Claim, Scenario, Setup, Swap
from mkold.lang import (
    NULL,
    READ_ONCE,
    VAL,
    WRITE_ONCE,
    Ptr,
    Struct,
    atomic_add,
    atomic_andnot,
    atomic_cond_read_acquire,
    atomic_fetch_or_acquire,
    atomic_read,
    atomic_t,
    atomic_try_cmpxchg_acquire,
    atomic_try_cmpxchg_relaxed,
    byte,
    cast,
    kernel,
    smp_cond_load_acquire,
    smp_cond_load_relaxed,
    smp_store_release,
    smp_wmb,
    u32,
    u64,
)

SOURCE = (
    "kernel/locking/qspinlock.c, include/asm-generic/qspinlock.h and qspinlock_types.h, "
    "as of Linux 6.16"
)
SENTENCE = "Whoever holds the lock is alone, and each that waits for it gets it."

LOCKED, LOCKED_MASK = 1, 0xFF
PENDING = 0x100
LOCKED_PENDING_MASK = 0xFFFF
TAIL_SHIFT = 16


class McsNode(Struct):
    next: "Ptr[McsNode]"
    locked: u32


class Lock(Struct):
    val: atomic_t
    counter: u64


@kernel
def queued_spin_unlock(lock: Ptr[Lock]) -> None:
    smp_store_release(byte(lock.val, 0), 0)


@kernel
def xchg_tail(lock: Ptr[Lock], tail: u32) -> u32:
    old = cast(u32, atomic_read(lock.val))
    while True:
        done, old = atomic_try_cmpxchg_relaxed(
            lock.val, old, (old & LOCKED_PENDING_MASK) | tail
        )
        if done:
            return old


@kernel
def queue(lock: Ptr[Lock], nodes: Ptr[McsNode], cpu: u32) -> None:
    tail = (cpu + 1) << TAIL_SHIFT
    node = nodes + cpu
    node.locked = 0
    node.next = NULL
    if atomic_read(lock.val) == 0:
        done, _ = atomic_try_cmpxchg_acquire(lock.val, 0, LOCKED)
        if done:
            return
    smp_wmb()
    old = xchg_tail(lock, tail)
    next = cast(Ptr[McsNode], NULL)
    if old >> TAIL_SHIFT:
        prev = nodes + ((old >> TAIL_SHIFT) - 1)
        WRITE_ONCE(prev.next, node)
        smp_cond_load_acquire(node.locked, VAL != 0)
        next = READ_ONCE(node.next)
    val = atomic_cond_read_acquire(lock.val, VAL & LOCKED_PENDING_MASK == 0)
    if val == tail:
        done, val = atomic_try_cmpxchg_relaxed(lock.val, val, LOCKED)
        if done:
            return
    WRITE_ONCE(byte(lock.val, 0), LOCKED)
    if not next:
        next = smp_cond_load_relaxed(node.next, VAL != NULL)
    smp_store_release(next.locked, 1)


@kernel
def queued_spin_lock(lock: Ptr[Lock], nodes: Ptr[McsNode], cpu: u32) -> None:
    done, val = atomic_try_cmpxchg_acquire(lock.val, 0, LOCKED)
    if done:
        return
    if val & ~LOCKED_MASK == 0:
        val = atomic_fetch_or_acquire(lock.val, PENDING)
        if val & ~LOCKED_MASK == 0:
            if val & LOCKED_MASK:
                atomic_cond_read_acquire(lock.val, VAL & LOCKED_MASK == 0)
            atomic_add(lock.val, LOCKED - PENDING)
            return
        if val & PENDING == 0:
            atomic_andnot(lock.val, PENDING)
    queue(lock, nodes, cpu)


@kernel
def work(lock: Ptr[Lock], nodes: Ptr[McsNode], cpu: u32) -> None:
    queued_spin_lock(lock, nodes, cpu)
    lock.counter += 1
    queued_spin_unlock(lock)


@kernel
def work_in_queue(lock: Ptr[Lock], nodes: Ptr[McsNode], cpu: u32) -> None:
    queue(lock, nodes, cpu)
    lock.counter += 1
    queued_spin_unlock(lock)


def cpus(n: int, *, in_queue: bool = False) -> Scenario:
    """``n`` CPUs take the lock; ``in_queue``: by the queue, with the ways past it left out."""

    def setup(m: Setup) -> None:
        lock = m.new(Lock, "lock")
        nodes = m.new(McsNode, "node", count=n)
        m.watch("counter", lock + Lock.offset("counter"))
        for cpu in range(n):
            m.thread(f"cpu{cpu}", (work_in_queue if in_queue else work, lock, nodes, cpu))
        m.never("lost", lambda end: end["counter"] != n, "An addition is lost.")

    return Scenario("in-queue" if in_queue else "cpus", setup)


QUEUE = cpus(3, in_queue=True)
ACQUIRE = (Swap("xchg_tail:atomic_try_cmpxchg_relaxed", "atomic_try_cmpxchg_acquire"),)
FULL = (Swap("xchg_tail:atomic_try_cmpxchg_relaxed", "atomic_try_cmpxchg"),)

CLAIMS = [
    Claim("lock", SENTENCE, SOURCE, (Case("two CPUs", cpus(2)), Case("three CPUs", cpus(3)))),
    Claim("queue", SENTENCE, SOURCE, (Case("three CPUs", QUEUE),)),
    Claim(
        "mended",
        SENTENCE,
        SOURCE,
        (
            Case("the tail exchanged by an acquire", QUEUE, ACQUIRE),
            Case("the tail exchanged by a full barrier", QUEUE, FULL),
        ),
    ),
]
