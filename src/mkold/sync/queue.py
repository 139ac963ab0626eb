"""The queue of waiters that a lock word carries in its upper bits.

Rules
-----
* Bits 0-15 belong to the lock: 1 while one thread holds it for itself, 0 while it is free.
  Bits 16-39 are the ticket being served, bits 40-63 the
  next ticket to give out. Both are 0 while nobody waits.
* A thread first tries for a while to take the lock whenever the word shows no waiter.
  Then it takes a ticket; from there on nobody who comes later gets past it. So a lock
  held briefly is handed over at the speed of a test-and-set lock, and no thread starves.
* The last waiter to be served resets both tickets to 0.

A pure ticket lock would stall whenever the next in line is not running, which is the rule
with more threads than CPUs; ``cpu_relax()`` gives the CPU away now and then for that.

Known limits: 2**24 waiters.
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    Ptr,
    cmpxchg_acquire,
    cpu_relax,
    kernel,
    parameter,
    u64,
)

# How often to look at the lock before queueing.
LOCK_PATIENCE = parameter("LOCK_PATIENCE", 256)

# The lock's own bits, and their value while one thread holds it for itself.
STATE_MASK = 0xFFFF
HELD = 1

TICKET_MASK = 0xFFFFFF
SERVING_SHIFT = 16
NEXT_SHIFT = 40


@kernel
def queue_join(lock: Ptr[u64]) -> u64:
    """Take a ticket.

    An acquire: whoever let the lock go may be seen here and not again, when the word came
    back to what it was and the taking that follows reads this store. (Found by
    ``mkold check 15b``.)
    """
    while True:
        word = READ_ONCE(lock.value)
        if cmpxchg_acquire(lock.value, word, word + (1 << NEXT_SHIFT)) == word:
            return word >> NEXT_SHIFT


@kernel
def queue_is_served(word: u64, ticket: u64) -> bool:
    """Whether it is this ticket's turn."""
    return (word >> SERVING_SHIFT) & TICKET_MASK == ticket


@kernel
def queue_leave(word: u64, ticket: u64) -> u64:
    """The queue's bits of ``word`` once the ticket being served is done with."""
    following = (ticket + 1) & TICKET_MASK
    if word >> NEXT_SHIFT == following:
        return 0
    return ((word >> NEXT_SHIFT) << NEXT_SHIFT) | (following << SERVING_SHIFT)


@kernel
def queue_lock_exclusive(lock: Ptr[u64]) -> None:
    """Take the lock for oneself: try for a while, then queue."""
    for _ in range(LOCK_PATIENCE):
        if READ_ONCE(lock.value) == 0 and cmpxchg_acquire(lock.value, 0, HELD) == 0:
            return
        cpu_relax()
    ticket = queue_join(lock)
    while True:
        word = READ_ONCE(lock.value)
        if word & STATE_MASK == 0 and queue_is_served(word, ticket):
            new = queue_leave(word, ticket) | HELD
            if cmpxchg_acquire(lock.value, word, new) == word:
                return
        cpu_relax()
