"""A wait-queue entry on the stack: the frame goes while the waker still writes to it.

The waiter does not take the queue's lock if ``list_empty_careful()`` says that its entry is
off the list already; then its stack frame ends. The queue itself is left out.

    mkold check docs/gallery/list_del_init_careful.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup, Swap
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    kernel,
    poison,
    smp_load_acquire,
    smp_store_release,
    u64,
)

SOURCE = (
    "commit c6fe44d96fc1 "
    '("list: add "list_del_init_careful()" to go with "list_empty_careful()"")'
)
SENTENCE = "The waker is done with the entry when the waiter's frame ends."


class WaitEntry(Struct):
    next: "Ptr[WaitEntry]"
    prev: "Ptr[WaitEntry]"
    flags: u64


@kernel
def list_del_init_careful(entry: Ptr[WaitEntry]) -> None:
    WRITE_ONCE(entry.prev, entry)
    smp_store_release(entry.next, entry)


@kernel
def list_empty_careful(entry: Ptr[WaitEntry]) -> bool:
    return smp_load_acquire(entry.next) == entry and READ_ONCE(entry.prev) == entry


@kernel
def wake_function(entry: Ptr[WaitEntry]) -> None:
    entry.flags = 1
    list_del_init_careful(entry)


@kernel
def finish_wait(entry: Ptr[WaitEntry]) -> u64:
    if not list_empty_careful(entry):
        return 1  # on the list still: the lock would be taken
    woken = entry.flags
    poison(entry.next, 3)  # the frame ends
    return woken


def waker_and_waiter(m: Setup) -> None:
    entry = m.new(WaitEntry, "entry")
    m.thread("waker", (wake_function, entry))
    m.thread("waiter", (finish_wait, entry))
    m.never(
        "unflagged",
        lambda end: not end.result("waiter"),
        "The waiter is woken and not flagged.",
    )


SCENARIO = Scenario("on-stack", waker_and_waiter)
STORE = (Swap("list_del_init_careful:smp_store_release", "WRITE_ONCE"),)
LOAD = (Swap("list_empty_careful:smp_load_acquire", "READ_ONCE"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("release and acquire", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("list_del_init()", SCENARIO, STORE),
            Case("list_empty_careful() without acquire", SCENARIO, LOAD),
        ),
    ),
]
