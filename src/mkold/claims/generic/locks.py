"""mkold's own locks and RCU, the kernel Python that runs natively: claim 15."""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, End, Scenario, Setup, Swap
from mkold.lang import READ_ONCE, WRITE_ONCE, Ptr, cpu_relax, kernel, u64
from mkold.sync.rcu import __rcu_read_lock, __rcu_read_unlock, __synchronize_rcu
from mkold.sync.rwlock import (
    queued_read_lock,
    queued_read_unlock,
    queued_write_lock,
    queued_write_unlock,
)
from mkold.sync.spinlock import queued_spin_lock, queued_spin_unlock

OWN = "mkold, src/mkold/sync"
# No patience: whoever does not get the lock at once queues.
QUEUE_AT_ONCE = {"LOCK_PATIENCE": 0}


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


@kernel
def nobody_queues(lock: Ptr[u64]) -> u64:
    """Stands for ``queue_join``: executions in which somebody queues are not looked at."""
    while True:
        cpu_relax()


NO_QUEUE = {"queue_join": nobody_queues}
LOOK_ONCE = {"LOCK_PATIENCE": 1}


def _adders(n: int, *, queue: bool) -> Scenario:
    def setup(m: Setup) -> None:
        lock, counter = m.words(1, "lock"), m.words(1, "counter")
        for i in range(n):
            m.thread(f"T{i}", (add_under_spinlock, lock, counter))
        m.watch("counter", counter)
        m.never("lost-update", lambda end: end["counter"] != n, "An addition was lost.")

    if queue:
        return Scenario(f"spinlock-{n}", setup, QUEUE_AT_ONCE)
    return Scenario(
        f"spinlock-{n}-no-queue", setup, LOOK_ONCE, stand_ins=NO_QUEUE, partial=True
    )


def _writers(n_writers: int, n_readers: int, *, queue: bool) -> Scenario:
    def setup(m: Setup) -> None:
        lock, counter = m.words(1, "lock"), m.words(1, "counter")
        for i in range(n_writers):
            m.thread(f"writer{i}", (add_under_write_lock, lock, counter))
        for i in range(n_readers):
            m.thread(f"reader{i}", (read_under_read_lock, lock, counter))
        m.watch("counter", counter)
        m.never("lost-update", lambda end: end["counter"] != n_writers, "An addition was lost.")

    name = f"rwlock-{n_writers}-writers-{n_readers}-readers"
    if queue:
        return Scenario(name, setup, QUEUE_AT_ONCE)
    return Scenario(f"{name}-no-queue", setup, LOOK_ONCE, stand_ins=NO_QUEUE, partial=True)


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


SPIN_2, SPIN_3 = _adders(2, queue=True), _adders(3, queue=False)
RW_11, RW_20 = _writers(1, 1, queue=True), _writers(2, 0, queue=True)
RW_12, RW_21 = _writers(1, 2, queue=False), _writers(2, 1, queue=False)
RCU_1, RCU_2 = _rcu(1), _rcu(2)

CLAIMS = [
    Claim(
        "15a-spinlock",
        "mkold's native spinlock excludes: what it guards needs no mark and loses no update.",
        OWN,
        (
            Case("two threads, waiters queue", SPIN_2),
            Case("three threads, nobody queues", SPIN_3),
            Case(
                "unlock without release",
                SPIN_3,
                (Swap("queued_spin_unlock:atomic_fetch_andnot_release",
                      "atomic_fetch_andnot_relaxed"),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "15b-rwlock",
        "mkold's native read/write lock keeps writers apart from readers and writers.",
        OWN,
        (
            Case("a writer and a reader, waiters queue", RW_11),
            Case("two writers, waiters queue", RW_20),
            Case(
                "two writers, a ticket taken without acquire",
                RW_20,
                (Swap("queue_join:cmpxchg_acquire", "cmpxchg_relaxed"),),
                decides=False,
            ),
            Case("a writer and two readers, nobody queues", RW_12),
            Case("two writers and a reader, nobody queues", RW_21),
            Case(
                "read_lock without acquire",
                RW_12,
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
