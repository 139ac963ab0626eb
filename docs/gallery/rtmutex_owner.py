"""The rtmutex: clearing HAS_WAITERS by a read and a write gives a free lock an owner again.

The lock has an owner, its bit and no waiters left. Two waiters that gave up tidy up, while
the owner releases the lock.

    mkold check docs/gallery/rtmutex_owner.py --explain
"""

from mkold.check import Case, Claim, Force, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    cmpxchg_release,
    kernel,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
)

SOURCE = 'commit dbb26055defd ("locking/rtmutex: Prevent dequeue vs. unlock race")'
SENTENCE = "A released lock has no owner."

HAS_WAITERS, OWNER = 1, 0x100


class RtMutex(Struct):
    wait_lock: spinlock_t
    owner: u64


@kernel
def fixup_rt_mutex_waiters(lock: Ptr[RtMutex]) -> None:
    spin_lock(lock.wait_lock)
    owner = READ_ONCE(lock.owner)
    if owner & HAS_WAITERS:
        WRITE_ONCE(lock.owner, owner & ~HAS_WAITERS)
    spin_unlock(lock.wait_lock)


@kernel
def rt_mutex_unlock(lock: Ptr[RtMutex]) -> u64:
    if cmpxchg_release(lock.owner, OWNER, 0) == OWNER:
        return 1  # nobody waits
    spin_lock(lock.wait_lock)
    WRITE_ONCE(lock.owner, 0)
    spin_unlock(lock.wait_lock)
    return 2


def owner_and_two_waiters(m: Setup) -> None:
    lock = m.new(RtMutex, "lock")
    m.poke(lock + 1, OWNER | HAS_WAITERS)
    m.watch("lock.owner", lock + 1)
    m.thread("owner", (rt_mutex_unlock, lock))
    m.thread("waiter 1", (fixup_rt_mutex_waiters, lock))
    m.thread("waiter 2", (fixup_rt_mutex_waiters, lock))
    m.never(
        "owned", lambda end: bool(end["lock.owner"]), "The lock was released and has an owner."
    )


SCENARIO = Scenario("owner", owner_and_two_waiters)
ALWAYS = (Force("fixup_rt_mutex_waiters:READ_ONCE", 1),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("written where the bit is set", SCENARIO),)),
    Claim("bug", SENTENCE, SOURCE, (Case("always written", SCENARIO, ALWAYS),)),
]
