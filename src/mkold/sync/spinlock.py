"""Spinlocks: one word, 1 while held, the waiters' queue above it (see ``queue``).

Rules
-----
* Taking is an acquire, letting go a release, as LKMM asks.
* ``spin_trylock`` takes the lock only if nobody holds it or waits for it.

Source: kernel/locking/qspinlock.c for the meaning; the method is our own.
"""

from __future__ import annotations

from mkold.lang import (
    READ_ONCE,
    Ptr,
    atomic_fetch_andnot_release,
    cmpxchg_acquire,
    kernel,
    spinlock_t,
)
from mkold.sync.queue import HELD, STATE_MASK, queue_lock_exclusive


@kernel
def queued_spin_lock(lock: Ptr[spinlock_t]) -> None:
    """``spin_lock``."""
    if cmpxchg_acquire(lock.value, 0, HELD) != 0:
        queue_lock_exclusive(lock)


@kernel
def queued_spin_trylock(lock: Ptr[spinlock_t]) -> bool:
    """``spin_trylock``."""
    return READ_ONCE(lock.value) == 0 and cmpxchg_acquire(lock.value, 0, HELD) == 0


@kernel
def queued_spin_unlock(lock: Ptr[spinlock_t]) -> None:
    """``spin_unlock``."""
    atomic_fetch_andnot_release(lock.value, HELD)


@kernel
def queued_spin_is_locked(lock: Ptr[spinlock_t]) -> bool:
    """``spin_is_locked``."""
    return READ_ONCE(lock.value) & STATE_MASK != 0
