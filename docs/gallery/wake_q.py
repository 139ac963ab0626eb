"""A futex wake-up that is queued before the condition is stored can be lost.

``wake_q_add()`` does nothing if the task is on a wake queue already, whoever's it is: that
other waker may wake it at any time. The sleeper looks at its condition each time it wakes.

    mkold check docs/gallery/wake_q.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    cmpxchg_relaxed,
    cpu_relax,
    kernel,
    smp_mb,
    smp_mb__before_atomic,
    smp_store_mb,
    smp_store_release,
    u64,
)

SOURCE = 'commit b061c38bef43 ("futex: Fix (possible) missed wakeup")'
SENTENCE = "A sleeper whose condition was stored wakes up."


class Task(Struct):
    asleep: u64
    wake_q: u64
    lock_ptr: u64  # what it waits to become NULL


@kernel
def wake_q_add(task: Ptr[Task]) -> bool:
    smp_mb__before_atomic()
    return cmpxchg_relaxed(task.wake_q, 0, 1) == 0


@kernel
def wake_up_q(task: Ptr[Task]) -> None:
    WRITE_ONCE(task.wake_q, 0)
    smp_mb()  # wake_up_process()
    WRITE_ONCE(task.asleep, 0)


@kernel
def mark_wake_futex(task: Ptr[Task]) -> None:
    smp_store_release(task.lock_ptr, 0)
    if wake_q_add(task):
        wake_up_q(task)


@kernel
def mark_wake_futex_early(task: Ptr[Task]) -> None:
    mine = wake_q_add(task)
    smp_store_release(task.lock_ptr, 0)
    if mine:
        wake_up_q(task)


@kernel
def another_waker(task: Ptr[Task]) -> None:
    if wake_q_add(task):
        wake_up_q(task)


@kernel
def futex_wait(task: Ptr[Task]) -> None:
    while True:
        smp_store_mb(task.asleep, 1)  # set_current_state()
        if not READ_ONCE(task.lock_ptr):
            break
        while READ_ONCE(task.asleep):  # schedule()
            cpu_relax()


def sleeper_and(waker: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        task = m.new(Task, "task")
        m.poke(task + Task.offset("lock_ptr"), 1)
        m.thread("sleeper", (futex_wait, task))
        m.thread("other", (another_waker, task))
        m.thread("waker", (waker, task))

    return Scenario(f"wake-{waker.name.replace('_', '-')}", setup)


CLAIMS = [
    Claim(
        "fixed", SENTENCE, SOURCE, (Case("stored, then queued", sleeper_and(mark_wake_futex)),)
    ),
    Claim("bug", SENTENCE, SOURCE, (Case("queued first", sleeper_and(mark_wake_futex_early)),)),
]
