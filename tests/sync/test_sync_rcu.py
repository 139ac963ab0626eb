"""RCU and SRCU on real threads: readers never see freed memory; the wrong one is caught."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mkold.ir.boot import BOOT_WORDS
from mkold.ir.program import POISON
from mkold.lang import compile_text
from mkold.native import Memory, build
from mkold.sync.rcu import rcu_do_batch, rcu_pending
from mkold.sync.srcu import SrcuStruct

AT = BOOT_WORDS
ROUNDS = 3_000

TEXT = """
from mkold.lang import *
from mkold.lang import (READ_ONCE, WRITE_ONCE, cpu_relax, poison, rcu_assign_pointer,
    rcu_dereference, rcu_read_lock, rcu_read_unlock, srcu_read_lock, srcu_read_unlock,
    synchronize_rcu, synchronize_srcu, smp_processor_id, atomic_inc)
from mkold.sync.srcu import SrcuStruct

class World(Struct):
    object: "Ptr[u64]"
    stop: u64
    started: u64
    n_run: u64
    srcu: SrcuStruct
    objects: Array[u64, 64]

@kernel
def look(object: Ptr[u64]) -> bool:
    bad = READ_ONCE(object.value) == POISON
    for _ in range(20):
        bad |= READ_ONCE(object.value) == POISON
    return bad

@kernel
def reader(world: Ptr[World]) -> u64:
    seen = 0
    WRITE_ONCE(world.started, 1)
    while not READ_ONCE(world.stop):
        rcu_read_lock()
        rcu_read_lock()
        object = rcu_dereference(world.object)
        rcu_read_unlock()
        seen += look(object)
        rcu_read_unlock()
    return seen

@kernel
def srcu_reader(world: Ptr[World]) -> u64:
    seen = 0
    WRITE_ONCE(world.started, 1)
    while not READ_ONCE(world.stop):
        index = srcu_read_lock(world.srcu)
        seen += look(rcu_dereference(world.object))
        srcu_read_unlock(world.srcu, index)
    return seen

@kernel
def update(world: Ptr[World], n: u64, kind: u64) -> None:
    # Two objects take turns: one is live, the other freed, that is, poisoned.
    while not READ_ONCE(world.started):
        cpu_relax()
    for i in range(n):
        new = addr(world.objects[(i & 1) * 32])
        old = addr(world.objects[(i & 1 ^ 1) * 32])
        WRITE_ONCE(new.value, i)
        rcu_assign_pointer(world.object, new)
        if kind == 1:
            synchronize_rcu()
        elif kind == 2:
            synchronize_srcu(world.srcu)
        WRITE_ONCE(old.value, POISON)
    WRITE_ONCE(world.stop, 1)

@kernel
def free(word: u64) -> None:
    cast(Ptr[World], word).n_run += 1

@kernel
def free_twice(word: u64) -> None:
    cast(Ptr[World], word).n_run += 100

@kernel
def queue(world: Ptr[World]) -> None:
    rcu_read_lock()
    call_rcu(free, world)
    call_rcu(free_twice, world)
    rcu_read_unlock()

@kernel
def hold(world: Ptr[World]) -> None:
    rcu_read_lock()
    WRITE_ONCE(world.started, 1)
    while not READ_ONCE(world.stop):
        cpu_relax()
    rcu_read_unlock()
"""
NONE, RCU, SRCU = 0, 1, 2


@pytest.fixture(scope="module")
def image():
    module = compile_text(TEXT)
    names = ("reader", "srcu_reader", "update", "queue", "hold")
    return build([*(module[n] for n in names), rcu_do_batch, rcu_pending])


def _seen(image, reader: str, kind: int, n: int) -> int:
    memory = Memory(AT + 2048)
    memory.words[AT] = AT + 4 + SrcuStruct.size
    with ThreadPoolExecutor(2) as pool:
        seen = pool.submit(image.call, reader, memory, 1, AT)
        pool.submit(image.call, "update", memory, 0, AT, n, kind).result()
        return seen.result()


def test_a_reader_never_sees_what_was_freed_after_a_grace_period(image):
    assert _seen(image, "reader", RCU, ROUNDS) == 0


def test_the_same_for_srcu(image):
    assert _seen(image, "srcu_reader", SRCU, ROUNDS // 10) == 0


@pytest.mark.parametrize("reader", ["reader", "srcu_reader"])
def test_without_a_grace_period_it_does(image, reader):
    assert any(_seen(image, reader, NONE, 1_000_000) for _ in range(20))


def test_a_grace_period_waits_for_a_reader(image):
    memory = Memory(AT + 2048)
    with ThreadPoolExecutor(2) as pool:
        holder = pool.submit(image.call, "hold", memory, 5, AT)
        while not memory.words[AT + 2]:
            time.sleep(0.001)
        image.call("queue", memory, 0, AT)
        batch = pool.submit(image.call, "rcu_do_batch", memory, 0)
        time.sleep(0.05)
        assert not batch.done()
        assert int(memory.words[AT + 3]) == 0
        memory.words[AT + 1] = 1
        assert batch.result(5) == 2
        assert holder.result(5) is None
    assert int(memory.words[AT + 3]) == 101


def test_callbacks_belong_to_the_cpu_that_queued_them(image):
    memory = Memory(AT + 2048)
    for _ in range(3):
        image.call("queue", memory, 7, AT)
    assert image.call("rcu_do_batch", memory, 0) == 0
    assert image.call("rcu_pending", memory, 7) == 6
    assert image.call("rcu_do_batch", memory, 7) == 6
    assert image.call("rcu_do_batch", memory, 7) == 0
    assert int(memory.words[AT + 3]) == 303
    assert image.call("rcu_pending", memory, 7) == 0


def test_the_ring_goes_round_and_a_full_one_is_a_bug(image):
    from mkold.native import KernelBugError

    memory = Memory(AT + 2048)
    for _ in range(3):
        for _ in range(3000):
            image.call("queue", memory, 1, AT)
        assert image.call("rcu_do_batch", memory, 1) == 6000
    assert int(memory.words[AT + 3]) == 9000 * 101
    for _ in range(4096):
        image.call("queue", memory, 1, AT)
    with pytest.raises(KernelBugError):
        image.call("queue", memory, 1, AT)
    assert POISON not in memory.words[AT : AT + 4].tolist()
