"""Spinlocks, with LKMM's own events; reader-writer locks and mutexes, which it has not.

A reader-writer lock is a word that counts readers, ``WRITER`` while held for writing,
changed by read-modify-writes with acquire and release order. Natively both sorts are kernel
Python with a word of another meaning (see ``mkold.sync``).

A mutex is a word, 1 while held, changed by a read-modify-write that acquires and a store
that releases. Who waits for it sleeps, and who holds it may. Natively it spins.

Source: tools/memory-model/lock.cat.
"""

from __future__ import annotations

from mkold.ir.nodes import WORD_MASK
from mkold.ir.prims.implementations import RWLOCK, SPINLOCK
from mkold.ir.prims.row import Gives, Holds, Order, Prim, Shape, Takes, When

UNLOCKED, LOCKED = 0, 1
WRITER = WORD_MASK
_CAT = "tools/memory-model/lock.cat"
_MUTEX = "include/linux/mutex.h, Documentation/locking/mutex-design.rst"
_RW = "mkold's own: readers and a writer exclude each other"
_SPIN = f"{SPINLOCK}:queued_spin"
_RWLOCK = f"{RWLOCK}:queued"
_PLACE = (Takes.PLACE,)

ROWS = [
    Prim(name="spin_lock_init", shape=Shape.STORE, takes=_PLACE, order=Order.PLAIN,
         operand=UNLOCKED, source="include/linux/spinlock.h"),
    Prim(name="spin_lock", shape=Shape.LOCK, takes=_PLACE, macro="p",
         ends="spin_unlock", holds=Holds("lock", alone=True, waits=True),
         native=f"{_SPIN}_lock", source=_CAT),
    Prim(name="spin_trylock", shape=Shape.TRYLOCK, takes=_PLACE, gives=(Gives.DONE,),
         macro="p", ends="spin_unlock", holds=Holds("lock", alone=True),
         native=f"{_SPIN}_trylock", source=_CAT),
    Prim(name="spin_unlock", shape=Shape.UNLOCK, takes=_PLACE, macro="p", leaves="lock",
         native=f"{_SPIN}_unlock", source=_CAT),
    Prim(name="spin_is_locked", shape=Shape.IS_LOCKED, takes=_PLACE,
         gives=(Gives.CONDITION,), macro="p", native=f"{_SPIN}_is_locked", source=_CAT),
    Prim(name="read_lock", shape=Shape.RMW, takes=_PLACE, order=Order.ACQUIRE, op="add",
         operand=1, when=When.UNEQUAL, against=WRITER, macro="p", family="rwlock",
         ends="read_unlock", holds=Holds("lock", waits=True), native=f"{_RWLOCK}_read_lock",
         source=_RW),
    Prim(name="read_trylock", shape=Shape.RMW, takes=_PLACE, gives=(Gives.DONE,),
         order=Order.ACQUIRE, op="add", operand=1, when=When.UNEQUAL, against=WRITER,
         family="rwlock", ends="read_unlock", holds=Holds("lock"),
         native=f"{_RWLOCK}_read_trylock", source=_RW),
    Prim(name="read_unlock", shape=Shape.RMW, takes=_PLACE, order=Order.RELEASE, op="sub",
         operand=1, macro="p", family="rwlock", leaves="lock",
         native=f"{_RWLOCK}_read_unlock", source=_RW),
    Prim(name="write_lock", shape=Shape.RMW, takes=_PLACE, order=Order.ACQUIRE, op="set",
         operand=WRITER, when=When.EQUAL, against=UNLOCKED, macro="p", family="rwlock",
         ends="write_unlock", holds=Holds("lock", alone=True, waits=True),
         native=f"{_RWLOCK}_write_lock", source=_RW),
    Prim(name="write_trylock", shape=Shape.RMW, takes=_PLACE, gives=(Gives.DONE,),
         order=Order.ACQUIRE, op="set", operand=WRITER, when=When.EQUAL, against=UNLOCKED,
         family="rwlock", ends="write_unlock", holds=Holds("lock", alone=True),
         native=f"{_RWLOCK}_write_trylock", source=_RW),
    Prim(name="write_unlock", shape=Shape.STORE, takes=_PLACE, order=Order.RELEASE,
         operand=UNLOCKED, macro="p", family="rwlock", leaves="lock",
         native=f"{_RWLOCK}_write_unlock", source=_RW),
    Prim(name="rwlock_init", shape=Shape.STORE, takes=_PLACE, order=Order.PLAIN,
         operand=UNLOCKED, source="include/linux/rwlock.h"),
    Prim(name="mutex_init", shape=Shape.STORE, takes=_PLACE, order=Order.PLAIN,
         operand=UNLOCKED, source=_MUTEX),
    Prim(name="mutex_lock", shape=Shape.RMW, takes=_PLACE, order=Order.ACQUIRE, op="set",
         operand=LOCKED, when=When.EQUAL, against=UNLOCKED, family="mutex", sleeps=True,
         ends="mutex_unlock", holds=Holds("mutex", alone=True, waits=True),
         native=f"{_SPIN}_lock", source=_MUTEX),
    Prim(name="mutex_trylock", shape=Shape.RMW, takes=_PLACE, gives=(Gives.DONE,),
         order=Order.ACQUIRE, op="set", operand=LOCKED, when=When.EQUAL, against=UNLOCKED,
         family="mutex", ends="mutex_unlock", holds=Holds("mutex", alone=True),
         native=f"{_SPIN}_trylock", source=_MUTEX),
    Prim(name="mutex_unlock", shape=Shape.STORE, takes=_PLACE, order=Order.RELEASE,
         operand=UNLOCKED, family="mutex", leaves="mutex", native=f"{_SPIN}_unlock",
         source=_MUTEX),
]  # fmt: skip
