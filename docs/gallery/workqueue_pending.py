"""The workqueue's PENDING bit: work is queued while the worker starts, and never looked at.

Who finds the bit set leaves the work to the worker that will clear it. ``item`` is what the
queuer did before it queued.

    mkold check docs/gallery/workqueue_pending.py --explain
"""

from mkold.check import Case, Claim, Drop, End, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    atomic_set,
    kernel,
    smp_mb,
    test_and_set_bit,
    u64,
)

SOURCE = (
    'commit 346c09f80459 ("workqueue: fix ghost PENDING flag while doing MQ IO"), '
    'commit 415d83249709 ("locking/atomic: Make test_and_*_bit() ordered on failure")'
)
SENTENCE = "Work that was found pending runs after what its queuer did before."

PENDING = 0


class Work(Struct):
    data: u64
    item: u64


@kernel
def queue_work(work: Ptr[Work]) -> bool:
    WRITE_ONCE(work.item, 1)
    return not test_and_set_bit(work.data, PENDING)


@kernel
def queue_work_with_a_look_first(work: Ptr[Work]) -> bool:
    """``test_and_set_bit`` as the generic C had it: no barrier if the bit is set."""
    WRITE_ONCE(work.item, 1)
    if READ_ONCE(work.data) & (1 << PENDING):
        return False
    return not test_and_set_bit(work.data, PENDING)


@kernel
def process_one_work(work: Ptr[Work]) -> u64:
    atomic_set(work.data, 0)
    smp_mb()
    return READ_ONCE(work.item)


def already_pending(queue: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        work = m.new(Work, "work")
        m.poke(work, 1 << PENDING)
        m.thread("queuer", (queue, work))
        m.thread("worker", (process_one_work, work))

        def ghost(end: End) -> bool:
            return not end.result("queuer") and not end.result("worker")

        m.never("ghost", ghost, "The queuer found the work pending; it ran without the item.")

    return Scenario(f"pending-{queue.name.replace('_', '-')}", setup)


SCENARIO = already_pending(queue_work)
NO_MB = (Drop("process_one_work:smp_mb"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("smp_mb() after the clearing", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("no smp_mb()", SCENARIO, NO_MB),
            Case(
                "a bit operation without order", already_pending(queue_work_with_a_look_first)
            ),
        ),
    ),
]
