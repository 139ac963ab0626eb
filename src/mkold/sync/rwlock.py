"""Read/write locks: one word, 1 while a writer holds it, twice the number of readers.

Rules
-----
* Waiters of both kinds stand in one queue (see ``queue``), so neither kind starves;
  readers that stand next to each other enter together.
* A reader must not take the lock again: a writer between the two would wait for the first
  and the second for the writer.

Source: kernel/locking/qrwlock.c for the meaning; the method is our own.
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    Ptr,
    atomic_fetch_andnot_release,
    atomic_fetch_sub_release,
    cmpxchg_acquire,
    cpu_relax,
    kernel,
    rwlock_t,
)
from mkold.sync.queue import (
    HELD,
    LOCK_PATIENCE,
    STATE_MASK,
    queue_is_served,
    queue_join,
    queue_leave,
    queue_lock_exclusive,
)

WRITER = HELD
READER = 2


@kernel
def queued_read_lock(lock: Ptr[rwlock_t]) -> None:
    """``read_lock``."""
    for _ in range(LOCK_PATIENCE):
        word = READ_ONCE(lock.value)
        if word <= STATE_MASK and word & WRITER == 0:
            if cmpxchg_acquire(lock.value, word, word + READER) == word:
                return
        else:
            cpu_relax()
    ticket = queue_join(lock)
    while True:
        word = READ_ONCE(lock.value)
        if word & WRITER == 0 and queue_is_served(word, ticket):
            new = queue_leave(word, ticket) | ((word & STATE_MASK) + READER)
            if cmpxchg_acquire(lock.value, word, new) == word:
                return
        else:
            cpu_relax()


@kernel
def queued_read_trylock(lock: Ptr[rwlock_t]) -> bool:
    """``read_trylock``: takes the lock if no writer holds it and nobody waits for it."""
    word = READ_ONCE(lock.value)
    while word <= STATE_MASK and word & WRITER == 0:
        seen = cmpxchg_acquire(lock.value, word, word + READER)
        if seen == word:
            return True
        word = seen
    return False


@kernel
def queued_read_unlock(lock: Ptr[rwlock_t]) -> None:
    """``read_unlock``."""
    atomic_fetch_sub_release(lock.value, READER)


@kernel
def queued_write_lock(lock: Ptr[rwlock_t]) -> None:
    """``write_lock``."""
    queue_lock_exclusive(lock)


@kernel
def queued_write_trylock(lock: Ptr[rwlock_t]) -> bool:
    """``write_trylock``: takes the lock if nobody holds it or waits for it."""
    return READ_ONCE(lock.value) == 0 and cmpxchg_acquire(lock.value, 0, HELD) == 0


@kernel
def queued_write_unlock(lock: Ptr[rwlock_t]) -> None:
    """``write_unlock``."""
    atomic_fetch_andnot_release(lock.value, WRITER)
