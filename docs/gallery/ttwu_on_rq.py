"""try_to_wake_up(): a task that runs is taken for asleep, and put on a run queue once more.

A first waker queues the task, the task runs and prepares to sleep again, and a second waker
reads ``state`` and then ``on_rq``.

    mkold check docs/gallery/ttwu_on_rq.py --explain
"""

from mkold.check import Case, Claim, Drop, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    kernel,
    smp_rmb,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
)

SOURCE = (
    "commit 135e8c9250dd "
    '("sched/core: Fix a race between try_to_wake_up() and a woken up task")'
)
SENTENCE = "A task that is on a run queue is not queued again."

TASK_UNINTERRUPTIBLE = 2
NOTHING, ON_RQ, QUEUED_AGAIN = 0, 1, 2


class Task(Struct):
    rq_lock: spinlock_t
    state: u64
    on_rq: u64


@kernel
def ttwu_queue(p: Ptr[Task]) -> None:
    spin_lock(p.rq_lock)
    WRITE_ONCE(p.on_rq, 1)
    spin_unlock(p.rq_lock)


@kernel
def run_and_sleep_again(p: Ptr[Task]) -> None:
    spin_lock(p.rq_lock)
    runs = READ_ONCE(p.on_rq)
    spin_unlock(p.rq_lock)
    if runs:
        WRITE_ONCE(p.state, TASK_UNINTERRUPTIBLE)


@kernel
def try_to_wake_up(p: Ptr[Task]) -> u64:
    if not READ_ONCE(p.state):
        return NOTHING
    smp_rmb()
    if READ_ONCE(p.on_rq):
        return ON_RQ
    return QUEUED_AGAIN


def two_wakers(m: Setup) -> None:
    p = m.new(Task, "p")
    m.thread("waker 1", (ttwu_queue, p))
    m.thread("task", (run_and_sleep_again, p))
    m.thread("waker 2", (try_to_wake_up, p))
    m.never(
        "queued-twice",
        lambda end: end.result("waker 2") == QUEUED_AGAIN,
        "A task on a run queue is queued again.",
    )


SCENARIO = Scenario("two-wakers", two_wakers)
NO_RMB = (Drop("try_to_wake_up:smp_rmb"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("state, smp_rmb(), on_rq", SCENARIO),)),
    Claim("bug", SENTENCE, SOURCE, (Case("no smp_rmb()", SCENARIO, NO_RMB),)),
]
