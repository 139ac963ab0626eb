"""``waitqueue_active()`` without a barrier: the waker sees no waiter, the waiter no condition.

The waker wakes only where somebody waits. The queue is a count of its waiters.

    mkold check docs/gallery/waitqueue_active.py --explain
"""

from mkold.check import Case, Claim, Drop, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    cpu_relax,
    kernel,
    smp_mb,
    smp_store_mb,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
)

SOURCE = (
    "commit 8ee1b7b9d876 "
    '("blk-mq: fix waitqueue_active without memory barrier in block/blk-mq-tag.c")'
)
SENTENCE = "Who waits for a tag wakes up when there are tags."


class Tags(Struct):
    lock: spinlock_t
    waiters: u64
    asleep: u64
    depth: u64


@kernel
def bt_get(tags: Ptr[Tags]) -> None:
    spin_lock(tags.lock)  # prepare_to_wait()
    WRITE_ONCE(tags.waiters, 1)
    smp_store_mb(tags.asleep, 1)
    spin_unlock(tags.lock)
    if not READ_ONCE(tags.depth):
        while READ_ONCE(tags.asleep):  # io_schedule()
            cpu_relax()


@kernel
def wake_up(tags: Ptr[Tags]) -> None:
    spin_lock(tags.lock)
    if READ_ONCE(tags.waiters):
        WRITE_ONCE(tags.waiters, 0)
        WRITE_ONCE(tags.asleep, 0)
    spin_unlock(tags.lock)


@kernel
def blk_mq_tag_update_depth(tags: Ptr[Tags]) -> None:
    WRITE_ONCE(tags.depth, 1)
    smp_mb()
    if READ_ONCE(tags.waiters):  # waitqueue_active()
        wake_up(tags)


def waiter_and_waker(m: Setup) -> None:
    tags = m.new(Tags, "tags")
    m.thread("waiter", (bt_get, tags))
    m.thread("waker", (blk_mq_tag_update_depth, tags))


SCENARIO = Scenario("tags", waiter_and_waker)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("smp_mb() before the look", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (Case("no smp_mb()", SCENARIO, (Drop("blk_mq_tag_update_depth:smp_mb"),)),),
    ),
]
