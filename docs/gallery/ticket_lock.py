"""arm64's ticket lock: ``trylock`` takes a compare-and-swap that failed for one that succeeded.

The word holds the owner's number and the next ticket; both wrap around. Here there are two
tickets (in the kernel 65,536), so that one round of lock and unlock by another CPU is enough.

    mkold check docs/gallery/ticket_lock.py --explain
"""

from mkold.check import Case, Claim, End, Scenario, Setup, Swap
from mkold.lang import (
    READ_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    atomic_fetch_xor_acquire,
    atomic_fetch_xor_release,
    cmpxchg_acquire,
    cpu_relax,
    kernel,
    smp_load_acquire,
    u64,
)

SOURCE = (
    'commit 202fb4ef81e3 ("arm64: spinlock: Fix theoretical trylock() A-B-A with LSE atomics")'
)
SENTENCE = "One thread at a time has the lock."

OWNER, NEXT = 1, 0x100  # plus one, modulo two, is an exclusive or


class TicketLock(Struct):
    val: u64
    data: u64


@kernel
def ticket_lock(lock: Ptr[TicketLock]) -> None:
    ticket = (atomic_fetch_xor_acquire(lock.val, NEXT) & NEXT) // NEXT
    while (smp_load_acquire(lock.val) & OWNER) != ticket:
        cpu_relax()


@kernel
def ticket_unlock(lock: Ptr[TicketLock]) -> None:
    atomic_fetch_xor_release(lock.val, OWNER)


@kernel
def ticket_trylock(lock: Ptr[TicketLock]) -> bool:
    old = READ_ONCE(lock.val)
    if (old & NEXT) // NEXT != old & OWNER:
        return False
    return cmpxchg_acquire(lock.val, old, old ^ NEXT) == old


@kernel
def ticket_trylock_by_half(lock: Ptr[TicketLock]) -> bool:
    old = READ_ONCE(lock.val)
    if (old & NEXT) // NEXT != old & OWNER:
        return False
    return (cmpxchg_acquire(lock.val, old, old ^ NEXT) & NEXT) == (old & NEXT)


@kernel
def work(lock: Ptr[TicketLock]) -> None:
    ticket_lock(lock)
    lock.data += 1
    ticket_unlock(lock)


@kernel
def once_more(lock: Ptr[TicketLock]) -> bool:
    if ticket_trylock(lock):
        ticket_unlock(lock)
    return ticket_trylock(lock)


def both_try(trylock: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        lock = m.new(TicketLock, "lock")
        m.thread("one", (trylock, lock))
        m.thread("other", (once_more, lock))

        def both(end: End) -> bool:
            return bool(end.result("one") and end.result("other"))

        m.never("two-owners", both, "Both have the lock.")

    return Scenario(f"try-{trylock.name.replace('_', '-')}", setup)


def two_cpus(m: Setup) -> None:
    lock = m.new(TicketLock, "lock")
    m.thread("cpu0", (work, lock))
    m.thread("cpu1", (work, lock))


LOCKED = Scenario("lock", two_cpus)
RELAXED = (Swap("ticket_unlock:atomic_fetch_xor_release", "atomic_fetch_xor_relaxed"),)

CLAIMS = [
    Claim(
        "fixed",
        SENTENCE,
        SOURCE,
        (
            Case("the whole word compared", both_try(ticket_trylock)),
            Case("unlock by a release", LOCKED),
        ),
    ),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("the next ticket compared", both_try(ticket_trylock_by_half)),
            Case("unlock without a release", LOCKED, RELAXED),
        ),
    ),
]
