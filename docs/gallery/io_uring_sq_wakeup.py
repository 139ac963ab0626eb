"""io_uring: the kernel's polling thread goes to sleep, and userspace does not wake it.

The thread asks to be woken and looks for new entries once more; userspace adds an entry and
looks whether it must wake. Each writes one word and reads the other's. Sleeping and waking
are results here, so the scenario has no waiting in it.

    mkold check docs/gallery/io_uring_sq_wakeup.py --explain
"""

from mkold.check import Case, Claim, Drop, End, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    kernel,
    smp_mb,
    smp_store_release,
    u64,
)

SOURCE = 'commit 0d7bae69c574 ("io_uring: fix race condition when sq threads goes sleeping")'
SENTENCE = "Either the thread sees the entry, or userspace sees that it must wake the thread."


class Rings(Struct):
    sq_tail: u64
    sq_flags: u64


@kernel
def io_sq_thread(rings: Ptr[Rings]) -> bool:
    """Whether it goes to sleep."""
    WRITE_ONCE(rings.sq_flags, 1)  # IORING_SQ_NEED_WAKEUP
    smp_mb()
    return READ_ONCE(rings.sq_tail) == 0


@kernel
def submit(rings: Ptr[Rings]) -> bool:
    """Whether userspace wakes the thread."""
    smp_store_release(rings.sq_tail, 1)
    smp_mb()
    return READ_ONCE(rings.sq_flags) != 0


def thread_and_user(m: Setup) -> None:
    rings = m.new(Rings, "rings")
    m.thread("thread", (io_sq_thread, rings))
    m.thread("user", (submit, rings))

    def asleep(end: End) -> bool:
        return bool(end.result("thread")) and not end.result("user")

    m.never("asleep", asleep, "The thread sleeps with an entry to do, and nobody wakes it.")


SCENARIO = Scenario("sq-wakeup", thread_and_user)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("smp_mb() on either side", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("no smp_mb() in the thread", SCENARIO, (Drop("io_sq_thread:smp_mb"),)),
            Case("no smp_mb() in userspace", SCENARIO, (Drop("submit:smp_mb"),)),
        ),
    ),
]
