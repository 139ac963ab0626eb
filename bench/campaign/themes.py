"""What threads are made of, by theme: how often each sort of statement is drawn."""

from __future__ import annotations

KINDS = ("kernel", "litmus")
READS = ("READ_ONCE", "READ_ONCE", "smp_load_acquire", "load")
WRITES = ("WRITE_ONCE", "WRITE_ONCE", "smp_store_release", "store", "smp_store_mb")
FENCES = ("smp_mb", "smp_rmb", "smp_wmb", "barrier", "smp_mb__before_atomic",
          "smp_mb__after_atomic")  # fmt: skip
SUFFIXES = ("", "_relaxed", "_acquire", "_release")
SWAPS = ("xchg", "cmpxchg")
FETCHES = ("atomic_fetch_add", "atomic_add_return", "atomic_fetch_or", "atomic_fetch_and")
NUMBERS = ("0", "1", "1", "2")
# What a theme draws, and how often.
THEMES: dict[str, dict[str, int]] = {
    "flags": {"read": 4, "write": 5, "wait": 4, "fence": 2, "branch": 2, "warn": 1},
    "swaps": {"read": 2, "write": 2, "swap": 4, "retry": 3, "spin": 2, "fetch": 2, "branch": 1},
    "locks": {"read": 3, "write": 4, "lock": 5, "trylock": 1, "poll": 2, "wait": 1,
              "rwlock": 1},
    "rcu": {"follow": 4, "replace": 4, "read": 2, "write": 2, "section": 3, "grace": 2,
            "wait": 1},
    "srcu": {"read": 3, "write": 3, "srcu": 4, "sync_srcu": 2, "wait": 1, "fence": 1},
    "frees": {"follow": 4, "publish": 3, "free": 3, "section": 2, "grace": 1, "unlink": 3},
    "arrays": {"read": 2, "write": 2, "count": 3, "index": 4, "wait": 1, "branch": 1},
    "mixed": {"read": 4, "write": 4, "wait": 2, "swap": 1, "fetch": 1, "fence": 2, "lock": 1,
              "section": 1, "branch": 2, "count": 1, "follow": 1, "publish": 1, "jump": 1},
    "straight": {"read": 4, "write": 4, "swap": 2, "fetch": 1, "fence": 3, "lock": 1,
                 "section": 1, "grace": 1, "branch": 2, "follow": 1, "publish": 1},
}  # fmt: skip
MOST_ACCESSES = 8
SHAPES = 0.4  # of all trees: two accesses a thread, in a circle (see ``shapes``)
