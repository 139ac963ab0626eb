"""Properties that hold for any code, by the names of the engine's flags."""

from __future__ import annotations

PROPERTIES = {
    "data-race": "Two threads touch the same word, one of them with a plain access that "
    "writes or is raced by a write, and nothing orders the two.",
    "use-after-free": "A thread reads memory, or uses a lock, that has been freed.",
    "write-after-free": "A thread writes to memory that has been freed.",
    "double-free": "Memory is freed that has been freed already.",
    "invalid-free": "A thread frees what is no object, or not from an object's start.",
    "use-before-init": "A thread reads memory that nobody has initialised yet.",
    "poison-address": "A thread follows a pointer that it read from freed memory.",
    "null-dereference": "A thread follows a pointer that is NULL.",
    "out-of-bounds": "A thread accesses a word beside an object.",
    "wild-address": "A thread follows a word that is the address of no memory.",
    "bad-call": "A thread calls through a pointer that points to no function.",
    "wild-access": "A thread accesses memory outside every object.",
    "division-by-zero": "A thread divides by zero.",
    "bug-on": "A BUG_ON fires.",
    "warn-on": "A WARN_ON fires.",
    "hang": "A thread waits for ever for what no thread will do any more.",
    "sleep-in-atomic": "A thread may sleep (it awaits a grace period, say) while it holds a "
    "spinlock or a reader-writer lock, in an RCU read section, or in an RCU callback.",
    "mixed-lock-accesses": "A word is used as a lock and by other accesses too.",
    "lock-final": "The final state of a lock is asked for.",
    "unmatched-unlock": "A lock is released that the thread does not hold.",
    "unmatched-rcu-lock": "An RCU read section is entered and never left.",
    "unmatched-rcu-unlock": "An RCU read section is left that was never entered.",
    "unmatched-srcu-lock": "An SRCU read section is entered and never left.",
    "unmatched-srcu-unlock": "An SRCU read section is left that was never entered.",
    "multiple-srcu-matches": "One SRCU read section is left twice.",
    "srcu-bad-value-match": "An SRCU read section is left with another section's cookie.",
    "invalid-sleep": "A thread waits for a grace period within a read section.",
}

# Flags that warn of what a compiler might do, and break no property by themselves.
WARNINGS = frozenset({"mixed-accesses"})
