"""mkold's own locks and RCU, the kernel Python that runs natively: claim 15."""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, End, Scenario, Setup, Swap
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, kernel, u64
from mkold.sync.rcu import __rcu_read_lock, __rcu_read_unlock, __synchronize_rcu
from mkold.sync.rwlock import (
    queued_read_lock,
    queued_read_unlock,
    queued_write_lock,
    queued_write_unlock,
)
from mkold.sync.spinlock import queued_spin_lock, queued_spin_unlock

OWN = "mkold, src/mkold/sync"
# How often a thread looks at the lock before it queues.
QUEUE_AT_ONCE, LOOK_ONCE = {"LOCK_PATIENCE": 0}, {"LOCK_PATIENCE": 1}


@kernel
def add_under_spinlock(lock: Ptr[u64], counter: Ptr[u64]) -> None:
    """Plain accesses: that they do not race is the claim."""
    queued_spin_lock(lock)
    counter.value += 1
    queued_spin_unlock(lock)


@kernel
def add_under_write_lock(lock: Ptr[u64], counter: Ptr[u64]) -> None:
    queued_write_lock(lock)
    counter.value += 1
    queued_write_unlock(lock)


@kernel
def read_under_read_lock(lock: Ptr[u64], counter: Ptr[u64]) -> u64:
    queued_read_lock(lock)
    seen = counter.value
    queued_read_unlock(lock)
    return seen


def _adders(n: int, patience: dict[str, int]) -> Scenario:
    def setup(m: Setup) -> None:
        lock, counter = m.words(1, "lock"), m.words(1, "counter")
        for i in range(n):
            m.thread(f"T{i}", (add_under_spinlock, lock, counter))
        m.watch("counter", counter)
        m.never("lost-update", lambda end: end["counter"] != n, "An addition was lost.")

    return Scenario(f"spinlock-{n}-{patience['LOCK_PATIENCE']}", setup, patience)


def _writers(n_writers: int, n_readers: int, patience: dict[str, int]) -> Scenario:
    def setup(m: Setup) -> None:
        lock, counter = m.words(1, "lock"), m.words(1, "counter")
        for i in range(n_writers):
            m.thread(f"writer{i}", (add_under_write_lock, lock, counter))
        for i in range(n_readers):
            m.thread(f"reader{i}", (read_under_read_lock, lock, counter))
        m.watch("counter", counter)
        m.never("lost-update", lambda end: end["counter"] != n_writers, "An addition was lost.")

    looks = patience["LOCK_PATIENCE"]
    name = f"rwlock-{n_writers}-writers-{n_readers}-readers-{looks}"
    return Scenario(name, setup, patience)


@kernel
def rcu_reader(x: Ptr[u64], y: Ptr[u64]) -> tuple[u64, u64]:
    __rcu_read_lock()
    seen_x = READ_ONCE(x.value)
    seen_y = READ_ONCE(y.value)
    __rcu_read_unlock()
    return seen_x, seen_y


@kernel
def rcu_updater(x: Ptr[u64], y: Ptr[u64]) -> None:
    WRITE_ONCE(x.value, 1)
    __synchronize_rcu()
    WRITE_ONCE(y.value, 1)


def _rcu(n_readers: int) -> Scenario:
    def setup(m: Setup) -> None:
        x, y = m.words(1, "x"), m.words(1, "y")
        for i in range(n_readers):
            m.thread(f"reader{i}", (rcu_reader, x, y))
        m.thread("updater", (rcu_updater, x, y))

        def straddles(end: End) -> bool:
            return any(
                end.result(f"reader{i}", 0, 0) == 0 and end.result(f"reader{i}", 0, 1) == 1
                for i in range(n_readers)
            )

        m.never(
            "grace-period-broken",
            straddles,
            "One read section saw the time before the grace period and the time after it.",
        )

    return Scenario(f"rcu-{n_readers}-readers", setup, {"NR_CPUS": n_readers})


SPIN_2, SPIN_3 = _adders(2, QUEUE_AT_ONCE), _adders(3, LOOK_ONCE)
SPIN_2_LOOKS, RW_11_LOOKS = _adders(2, LOOK_ONCE), _writers(1, 1, LOOK_ONCE)
RW_11, RW_20 = _writers(1, 1, QUEUE_AT_ONCE), _writers(2, 0, QUEUE_AT_ONCE)
RW_12, RW_21 = _writers(1, 2, LOOK_ONCE), _writers(2, 1, LOOK_ONCE)
RCU_1, RCU_2 = _rcu(1), _rcu(2)

CLAIMS = [
    Claim(
        "15a-spinlock",
        "mkold's native spinlock excludes: what it guards needs no mark and loses no update.",
        OWN,
        (
            Case("two threads, the queue at once", SPIN_2),
            Case("three threads, one look, then the queue", SPIN_3),
            Case(
                "unlock without release",
                SPIN_2_LOOKS,
                (Swap("queued_spin_unlock:atomic_fetch_andnot_release",
                      "atomic_fetch_andnot_relaxed"),),
                decides=False,
                heavy=True,
            ),
        ),
    ),
    Claim(
        "15b-rwlock",
        "mkold's native read/write lock keeps writers apart from readers and writers.",
        OWN,
        (
            Case("a writer and a reader, the queue at once", RW_11),
            Case("two writers, the queue at once", RW_20),
            Case(
                "two writers, a ticket taken without acquire",
                RW_20,
                (Swap("queue_join:cmpxchg_acquire", "cmpxchg_relaxed"),),
                decides=False,
                heavy=True,
            ),
            Case("a writer and two readers, one look, then the queue", RW_12),
            Case("two writers and a reader, one look, then the queue", RW_21),
            Case(
                "read_lock without acquire",
                RW_11_LOOKS,
                (Swap("queued_read_lock:cmpxchg_acquire[0]", "cmpxchg_relaxed"),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "15c-rcu",
        "mkold's native RCU keeps the grace-period guarantee: no read section straddles one.",
        OWN,
        (
            Case("one reader", RCU_1),
            Case("two readers", RCU_2),
            Case(
                "no barrier on entry",
                RCU_1,
                (Drop("__rcu_read_lock:smp_mb"),),
                decides=False,
            ),
        ),
    ),
]  # fmt: skip
