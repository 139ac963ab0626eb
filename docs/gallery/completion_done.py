"""A completion on the stack: its frame ends while ``complete()`` still holds its lock.

The waiter polls ``completion_done()`` and leaves; the completion dies with its frame.

    mkold check docs/gallery/completion_done.py --explain
"""

from mkold.check import Case, Claim, Drop, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    cpu_relax,
    kernel,
    poison,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
)

SOURCE = "kernel/sched/completion.c at 11e891d2e00d, completion_done() and the comment in it"
SENTENCE = "complete() is done with the completion when the waiter's frame ends."


class Completion(Struct):
    lock: spinlock_t
    done: u64


@kernel
def complete(x: Ptr[Completion]) -> None:
    spin_lock(x.lock)
    WRITE_ONCE(x.done, READ_ONCE(x.done) + 1)
    spin_unlock(x.lock)


@kernel
def completion_done(x: Ptr[Completion]) -> bool:
    if not READ_ONCE(x.done):
        return False
    spin_lock(x.lock)  # complete() has it until it is done
    spin_unlock(x.lock)
    return True


@kernel
def wait_on_stack(x: Ptr[Completion]) -> None:
    while not completion_done(x):
        cpu_relax()
    poison(x.lock, 2)  # the frame ends


def on_stack(m: Setup) -> None:
    x = m.new(Completion, "x")
    m.thread("complete", (complete, x))
    m.thread("wait", (wait_on_stack, x))


SCENARIO = Scenario("on-stack", on_stack)
NO_LOCK = (Drop("completion_done:spin_lock"), Drop("completion_done:spin_unlock"))

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("taking the lock once", SCENARIO),)),
    Claim("bug", SENTENCE, SOURCE, (Case("without the lock", SCENARIO, NO_LOCK),)),
]
