"""The same source under the memory model: RCU and SRCU keep their promise, each barrier of
theirs is needed, and a lock's acquire and release are too.

Bounded: one reader, one grace period, few turns of each waiting loop.
"""

import pytest

from mkold.ir.module import collect
from mkold.ir.program import And, Compare, Condition, Program, Reg, Thread
from mkold.ir.variant import Drop, Skip, Swap, apply
from mkold.lang import compile_text
from mkold.lkmm import Observation, decide

TEXT = """
from mkold.lang import Ptr, READ_ONCE, WRITE_ONCE, addr, kernel, u64
from mkold.sync.rcu import __rcu_read_lock, __rcu_read_unlock, __synchronize_rcu
from mkold.sync.spinlock import queued_spin_trylock, queued_spin_unlock
from mkold.sync.srcu import (SrcuStruct, __srcu_read_lock, __srcu_read_unlock,
    __synchronize_srcu)

@kernel
def reader(x: Ptr[u64], y: Ptr[u64], srcu: Ptr[SrcuStruct]) -> tuple[u64, u64]:
    __rcu_read_lock()
    a = READ_ONCE(x.value)
    b = READ_ONCE(y.value)
    __rcu_read_unlock()
    return a, b

@kernel
def updater(x: Ptr[u64], y: Ptr[u64], srcu: Ptr[SrcuStruct]) -> None:
    WRITE_ONCE(y.value, 1)
    __synchronize_rcu()
    WRITE_ONCE(x.value, 1)

@kernel
def srcu_reader(x: Ptr[u64], y: Ptr[u64], srcu: Ptr[SrcuStruct]) -> tuple[u64, u64]:
    index = __srcu_read_lock(srcu)
    a = READ_ONCE(x.value)
    b = READ_ONCE(y.value)
    __srcu_read_unlock(srcu, index)
    return a, b

@kernel
def srcu_updater(x: Ptr[u64], y: Ptr[u64], srcu: Ptr[SrcuStruct]) -> None:
    WRITE_ONCE(y.value, 1)
    __synchronize_srcu(srcu)
    WRITE_ONCE(x.value, 1)

@kernel
def writer(x: Ptr[u64], y: Ptr[u64], lock: Ptr[u64]) -> None:
    if queued_spin_trylock(lock):
        x.value = 1
        y.value = 1
        queued_spin_unlock(lock)

@kernel
def looker(x: Ptr[u64], y: Ptr[u64], lock: Ptr[u64]) -> tuple[u64, u64]:
    a, b = 0, 0
    if queued_spin_trylock(lock):
        a = y.value
        b = x.value
        queued_spin_unlock(lock)
    return a, b
"""
X, Y, OBJECT = 5000, 5001, 5008
# The reader saw what came after the grace period, and not what came before it.
BROKEN = And((Compare("eq", Reg(0, "a"), 1), Compare("eq", Reg(0, "b"), 0)))


def verdict(names: tuple[str, str], edits: tuple = ()):
    text = compile_text(TEXT)
    module = collect([text[name] for name in names])
    params = {**module.parameters, "NR_CPUS": 1}
    functions = apply(module.functions, params, edits)
    threads = tuple(Thread(f"P{i}", name, (X, Y, OBJECT)) for i, name in enumerate(names))
    program = Program("sync", functions, threads, {}, {}, Condition("exists", BROKEN))
    return decide(program, timeout_s=20, max_unroll=2)


PAIRS = [("reader", "updater"), ("srcu_reader", "srcu_updater"), ("looker", "writer")]


@pytest.mark.parametrize("names", PAIRS, ids=lambda names: names[0])
def test_the_promise_holds(names):
    found = verdict(names)
    assert found.observation is Observation.NEVER
    assert not found.flags


WRONG = [
    (PAIRS[0], Drop("__rcu_read_lock:smp_mb")),
    (PAIRS[0], Drop("__rcu_read_unlock:smp_mb")),
    (PAIRS[0], Drop("__synchronize_rcu:smp_mb[0]")),
    (PAIRS[0], Drop("__synchronize_rcu:smp_mb[1]")),
    (PAIRS[0], Skip("rcu_flip_and_wait")),
    (PAIRS[1], Drop("__srcu_read_lock:smp_mb")),
    (PAIRS[1], Drop("__srcu_read_unlock:smp_mb")),
    (PAIRS[1], Skip("srcu_readers_active")),
]


@pytest.mark.parametrize(("names", "edit"), WRONG, ids=str)
def test_every_barrier_is_needed(names, edit):
    assert verdict(names, (edit,)).observation is Observation.SOMETIMES


RELAXED = [
    Swap("queued_spin_trylock:cmpxchg_acquire", "cmpxchg_relaxed"),
    Swap("queued_spin_unlock:atomic_fetch_andnot_release", "atomic_fetch_andnot_relaxed"),
]


@pytest.mark.parametrize("edit", RELAXED, ids=str)
def test_a_lock_without_its_ordering_is_a_data_race(edit):
    found = verdict(PAIRS[2], (edit,))
    assert found.observation is Observation.SOMETIMES or found.flags
