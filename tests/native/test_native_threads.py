"""Several threads: what the atomics, fences and locks promise, and what without them breaks."""

import threading
import time

import numpy as np
import pytest
from native_workers import run

from mkold.ir.boot import BOOT_WORDS
from mkold.lang import compile_text
from mkold.native import KernelBugError, Memory, StoppedError, build

AT = BOOT_WORDS
N = 100_000

COUNTERS = compile_text(
    """
from mkold.lang import (Ptr, Struct, atomic_inc, atomic_fetch_add_relaxed, cmpxchg_relaxed,
    atomic_add_unless, Array, READ_ONCE, kernel, read_lock, read_unlock, rwlock_t, spin_lock,
    spin_trylock, spin_unlock, spinlock_t, try_cmpxchg, u64, write_lock, write_unlock)

class Counters(Struct):
    lock: spinlock_t
    pad: Array[u64, 7]
    rwlock: rwlock_t
    pad2: Array[u64, 7]
    n: u64
    again: u64

@kernel
def nothing(c: Ptr[Counters], n: u64) -> None:
    for _ in range(n):
        c.n = READ_ONCE(c.n) + 1

@kernel
def inc(c: Ptr[Counters], n: u64) -> None:
    for _ in range(n):
        atomic_inc(c.n)

@kernel
def fetch_add(c: Ptr[Counters], n: u64) -> None:
    for _ in range(n):
        atomic_fetch_add_relaxed(c.n, 1)

@kernel
def unless(c: Ptr[Counters], n: u64) -> None:
    for _ in range(n):
        atomic_add_unless(c.n, 1, 1 << 40)

@kernel
def cas(c: Ptr[Counters], n: u64) -> None:
    for _ in range(n):
        old = READ_ONCE(c.n)
        while True:
            ok, old = try_cmpxchg(c.n, old, old + 1)
            if ok:
                break

@kernel
def spin(c: Ptr[Counters], n: u64) -> None:
    for _ in range(n):
        spin_lock(c.lock)
        c.n += 1
        c.again = c.n
        spin_unlock(c.lock)

@kernel
def trylock(c: Ptr[Counters], n: u64) -> None:
    done = 0
    while done < n:
        if spin_trylock(c.lock):
            c.n += 1
            done += 1
            spin_unlock(c.lock)

@kernel
def writers(c: Ptr[Counters], n: u64) -> None:
    for _ in range(n):
        write_lock(c.rwlock)
        c.n += 1
        c.again = c.n
        write_unlock(c.rwlock)

@kernel
def readers(c: Ptr[Counters], n: u64) -> u64:
    torn = 0
    for _ in range(n):
        read_lock(c.rwlock)
        if c.n != c.again:
            torn += 1
        read_unlock(c.rwlock)
    return torn
"""
)
_NAMES = [
    "nothing",
    "inc",
    "fetch_add",
    "unless",
    "cas",
    "spin",
    "trylock",
    "writers",
    "readers",
]


@pytest.fixture(scope="module")
def counters():
    return build([COUNTERS[name] for name in _NAMES])


@pytest.mark.parametrize(
    "name", ["inc", "fetch_add", "unless", "cas", "spin", "trylock", "writers"]
)
def test_a_counter_is_exact(counters, name):
    memory = Memory(AT + 64)
    run(counters, memory, [(name, (AT, N))] * 3)
    assert int(memory.words[AT + 16]) == 3 * N


def test_an_unlocked_counter_is_not(counters):
    memory = Memory(AT + 64)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        memory.words[AT + 16] = 0
        run(counters, memory, [("nothing", (AT, 10 * N))] * 2)
        if int(memory.words[AT + 16]) != 20 * N:
            return
    pytest.fail("two threads never met; is the counter atomic?")


def test_readers_see_no_half_of_a_write(counters):
    memory = Memory(AT + 64)
    results = run(
        counters, memory, [("writers", (AT, N)), ("readers", (AT, N)), ("readers", (AT, N))]
    )
    assert results == [None, 0, 0]
    assert int(memory.words[AT + 8]) == 0


MESSAGES = compile_text(
    """
from mkold.lang import (Array, Ptr, READ_ONCE, Struct, WRITE_ONCE, cpu_relax, kernel,
    smp_load_acquire, smp_mb, smp_rmb, smp_store_release, smp_wmb, u64)

class Box(Struct):
    data: u64
    pad: Array[u64, 7]
    flag: u64
    pad2: Array[u64, 7]
    x: u64
    pad3: Array[u64, 7]
    y: u64
    pad4: Array[u64, 7]
    here: Array[u64, 16]

@kernel
def send(box: Ptr[Box], n: u64) -> None:
    for i in range(n):
        WRITE_ONCE(box.data, i)
        smp_wmb()
        WRITE_ONCE(box.flag, i)

@kernel
def receive(box: Ptr[Box], n: u64) -> u64:
    wrong = 0
    flag = 0
    while flag != n - 1:
        flag = READ_ONCE(box.flag)
        smp_rmb()
        if READ_ONCE(box.data) < flag:
            wrong += 1
        cpu_relax()
    return wrong

@kernel
def send_release(box: Ptr[Box], n: u64) -> None:
    for i in range(n):
        WRITE_ONCE(box.data, i)
        smp_store_release(box.flag, i)

@kernel
def receive_acquire(box: Ptr[Box], n: u64) -> u64:
    wrong = 0
    flag = 0
    while flag != n - 1:
        flag = smp_load_acquire(box.flag)
        if READ_ONCE(box.data) < flag:
            wrong += 1
    return wrong

@kernel
def meet(box: Ptr[Box], me: u64, round: u64) -> None:
    WRITE_ONCE(box.here[me * 8], round)
    while READ_ONCE(box.here[(1 - me) * 8]) < round:
        cpu_relax()

@kernel
def buffer(box: Ptr[Box], me: u64, n: u64, mine: Ptr[u64], other: Ptr[u64]) -> None:
    for i in range(n):
        meet(box, me, i + 1)
        WRITE_ONCE(mine[i * 16], 1)
        mine[i * 16 + 1] = READ_ONCE(other[i * 16])

@kernel
def buffer_mb(box: Ptr[Box], me: u64, n: u64, mine: Ptr[u64], other: Ptr[u64]) -> None:
    for i in range(n):
        meet(box, me, i + 1)
        WRITE_ONCE(mine[i * 16], 1)
        smp_mb()
        mine[i * 16 + 1] = READ_ONCE(other[i * 16])

@kernel
def wait(box: Ptr[Box]) -> None:
    while READ_ONCE(box.flag) == 0:
        cpu_relax()

@kernel
def bug(box: Ptr[Box]) -> u64:
    assert box.data == 7
    return 5

@kernel
def outer(box: Ptr[Box]) -> u64:
    return bug(box) + 1
"""
)
_MESSAGES = [
    "send",
    "receive",
    "send_release",
    "receive_acquire",
    "buffer",
    "buffer_mb",
    "wait",
    "bug",
    "outer",
]


@pytest.fixture(scope="module")
def messages():
    return build([MESSAGES[name] for name in _MESSAGES])


@pytest.mark.parametrize(
    ("sender", "receiver"), [("send", "receive"), ("send_release", "receive_acquire")]
)
def test_message_passing_never_breaks(messages, sender, receiver):
    memory = Memory(AT + 64)
    n = 3_000_000
    assert run(messages, memory, [(sender, (AT, n)), (receiver, (AT, n))])[1] == 0


def _both_missed(messages, name: str, n: int) -> int:
    """Rounds of store buffering in which neither thread saw the other's store."""
    memory = Memory(AT + 64 + 32 * n)
    first, second = AT + 64, AT + 64 + 16 * n
    run(
        messages, memory, [(name, (AT, 0, n, first, second)), (name, (AT, 1, n, second, first))]
    )
    return int(np.count_nonzero(memory.words[AT + 65 :: 16].reshape(2, n).sum(axis=0) == 0))


def test_store_buffering_shows_without_a_barrier_and_never_with(messages):
    with_mb = [_both_missed(messages, "buffer_mb", 20_000) for _ in range(5)]
    assert with_mb == [0] * 5
    # On a busy machine it may take a while until both threads have a core.
    until = time.monotonic() + 60
    while not _both_missed(messages, "buffer", 20_000):
        assert time.monotonic() < until


def test_the_stop_word_ends_a_spin(messages):
    memory = Memory(AT + 64)
    seen = []

    def spin() -> None:
        try:
            messages.call("wait", memory, 0, AT)
        except StoppedError as error:
            seen.append(error)

    thread = threading.Thread(target=spin)
    thread.start()
    time.sleep(0.05)
    assert not seen
    memory.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert len(seen) == 1


def test_a_bug_leaves_every_caller_and_stops_the_others(messages):
    memory = Memory(AT + 64)
    memory.words[AT] = 7
    assert messages.call("outer", memory, 0, AT) == 6
    memory.words[AT] = 8
    with pytest.raises(KernelBugError) as caught:
        messages.call("outer", memory, 3, AT)
    finding = caught.value.finding
    assert (finding.site.kind, finding.site.function, finding.cpu) == ("BUG_ON", "bug", 3)
    assert "bug" in str(caught.value)
    with pytest.raises(KernelBugError):  # its lock would never be let go
        messages.call("wait", memory, 0, AT)
