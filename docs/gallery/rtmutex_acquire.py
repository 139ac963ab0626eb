"""The rtmutex: a waiter that becomes the owner misses what the last owner did.

The last owner releases by a compare-and-swap alone, without ``wait_lock``, so taking
``wait_lock`` orders nothing between the two.

    mkold check docs/gallery/rtmutex_acquire.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup, Swap
from mkold.lang import (
    READ_ONCE,
    Ptr,
    Struct,
    cmpxchg_release,
    kernel,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
    xchg_acquire,
)

SOURCE = (
    "commit 1c0908d8e441 "
    '("rtmutex: Add acquire semantics for rtmutex lock acquisition slow path")'
)
SENTENCE = "What two owners do under the lock is in order."

FIRST, SECOND = 0x100, 0x200


class RtMutex(Struct):
    wait_lock: spinlock_t
    owner: u64
    data: u64


@kernel
def work_and_unlock(lock: Ptr[RtMutex]) -> None:
    lock.data += 1
    cmpxchg_release(lock.owner, FIRST, 0)


@kernel
def rt_mutex_slowlock(lock: Ptr[RtMutex]) -> u64:
    """One try; a task that finds an owner would sleep."""
    got = 0
    spin_lock(lock.wait_lock)
    if not READ_ONCE(lock.owner):
        xchg_acquire(lock.owner, SECOND)
        got = 1
    spin_unlock(lock.wait_lock)
    if got:
        lock.data += 1
    return got


def two_owners(m: Setup) -> None:
    lock = m.new(RtMutex, "lock")
    m.poke(lock + 1, FIRST)
    m.watch("lock.data", lock + 2)
    m.thread("first", (work_and_unlock, lock))
    m.thread("second", (rt_mutex_slowlock, lock))
    m.never(
        "lost",
        lambda end: end["lock.data"] != 1 + end.result("second"),
        "An update under the lock is lost.",
    )


SCENARIO = Scenario("two-owners", two_owners)
RELAXED = (Swap("rt_mutex_slowlock:xchg_acquire", "xchg_relaxed"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("the owner is set by xchg_acquire()", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (Case("the owner is set by xchg_relaxed()", SCENARIO, RELAXED),),
    ),
]
