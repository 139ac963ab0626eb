"""The queue of a queued spinlock: a CPU links a node that it has not initialised yet.

An MCS lock: each waiter spins on a node of its own. As in qspinlock, the exchange of the tail
is a release and no more; who finds the queue empty waits for nobody.

    mkold check docs/gallery/mcs_lock.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup, Swap
from mkold.lang import (
    NULL,
    READ_ONCE,
    Ptr,
    Struct,
    cmpxchg_release,
    cpu_relax,
    kernel,
    smp_load_acquire,
    smp_mb,
    smp_store_release,
    u64,
    xchg_release,
)

SOURCE = (
    "commit 95bcade33a8a "
    '("locking/qspinlock: Ensure node is initialised before updating prev->next")'
)
SENTENCE = "One thread at a time has the lock, and each that waits for it gets it."


class Node(Struct):
    next: "Ptr[Node]"
    locked: u64


class McsLock(Struct):
    tail: Ptr[Node]
    data: u64


@kernel
def mcs_lock(lock: Ptr[McsLock], node: Ptr[Node]) -> None:
    node.next = NULL
    node.locked = 0
    prev = xchg_release(lock.tail, node)
    if prev:
        smp_store_release(prev.next, node)
        while not smp_load_acquire(node.locked):
            cpu_relax()
    else:
        smp_mb()  # in qspinlock: the acquire of the lock word


@kernel
def mcs_unlock(lock: Ptr[McsLock], node: Ptr[Node]) -> None:
    next = READ_ONCE(node.next)
    if not next:
        if cmpxchg_release(lock.tail, node, NULL) == node:
            return
        while not next:
            cpu_relax()
            next = READ_ONCE(node.next)
    smp_store_release(next.locked, 1)


@kernel
def work(lock: Ptr[McsLock], node: Ptr[Node]) -> None:
    mcs_lock(lock, node)
    lock.data += 1
    mcs_unlock(lock, node)


def two_cpus(m: Setup) -> None:
    lock = m.new(McsLock, "lock")
    m.watch("lock.data", lock + 1)
    for i in range(2):
        node = m.new(Node, f"node{i}")
        m.thread(f"cpu{i}", (work, lock, node))
    m.never("lost", lambda end: end["lock.data"] != 2, "An update under the lock is lost.")


SCENARIO = Scenario("mcs", two_cpus)
LINK = (Swap("mcs_lock:smp_store_release", "WRITE_ONCE"),)
TAIL = (Swap("mcs_lock:xchg_release", "xchg_relaxed"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("linked by a release", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("linked by WRITE_ONCE", SCENARIO, LINK),
            Case("the tail exchanged without release", SCENARIO, TAIL),
        ),
    ),
]
