"""Locks: exclusion with more threads than CPUs, nobody starves, the word goes back to 0."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mkold.ir.boot import BOOT_WORDS
from mkold.lang import compile_text
from mkold.native import Memory, build

AT = BOOT_WORDS

TEXT = """
from mkold.lang import *
from mkold.lang import (READ_ONCE, WRITE_ONCE, read_lock, read_trylock, read_unlock,
    spin_is_locked, spin_lock, spin_trylock, spin_unlock, write_lock, write_trylock,
    write_unlock)

class World(Struct):
    lock: spinlock_t
    stop: u64
    inside: u64
    total: u64

@kernel
def spin(w: Ptr[World]) -> tuple[u64, u64]:
    n, clashes = 0, 0
    while not READ_ONCE(w.stop):
        spin_lock(w.lock)
        clashes += w.inside
        w.inside = 1
        w.total += 1
        w.inside = 0
        spin_unlock(w.lock)
        n += 1
    return n, clashes

@kernel
def write(w: Ptr[World]) -> tuple[u64, u64]:
    n, clashes = 0, 0
    while not READ_ONCE(w.stop):
        write_lock(w.lock)
        clashes += w.inside
        w.inside = 1
        w.total += 1
        w.inside = 0
        write_unlock(w.lock)
        n += 1
    return n, clashes

@kernel
def read(w: Ptr[World]) -> tuple[u64, u64]:
    n, clashes = 0, 0
    while not READ_ONCE(w.stop):
        read_lock(w.lock)
        clashes += w.inside
        read_unlock(w.lock)
        n += 1
    return n, clashes

@kernel
def states(w: Ptr[World]) -> u64:
    first = spin_trylock(w.lock)
    second = spin_trylock(w.lock)
    held = spin_is_locked(w.lock)
    spin_unlock(w.lock)
    return first * 1000 + second * 100 + held * 10 + spin_is_locked(w.lock)

@kernel
def two_readers(w: Ptr[World]) -> u64:
    read_lock(w.lock)
    read_lock(w.lock)
    word = READ_ONCE(w.lock)
    read_unlock(w.lock)
    read_unlock(w.lock)
    return word

@kernel
def try_states(w: Ptr[World]) -> u64:
    taken = read_trylock(w.lock) * 100000 + read_trylock(w.lock) * 10000
    taken += write_trylock(w.lock) * 1000
    read_unlock(w.lock)
    read_unlock(w.lock)
    taken += write_trylock(w.lock) * 100 + write_trylock(w.lock) * 10 + read_trylock(w.lock)
    write_unlock(w.lock)
    return taken
"""
NAMES = ("spin", "write", "read", "states", "two_readers", "try_states")


@pytest.fixture(scope="module", params=[256, 0], ids=["patient", "queue at once"])
def image(request):
    module = compile_text(TEXT)
    return build([module[n] for n in NAMES], {"LOCK_PATIENCE": request.param})


def contend(image, names: list[str], seconds: float) -> tuple[Memory, list[tuple[int, int]]]:
    """Each name run by a thread of its own; what each did and the clashes it saw."""
    memory = Memory(AT + 64)
    with ThreadPoolExecutor(len(names)) as pool:
        futures = [pool.submit(image.call, n, memory, i, AT) for i, n in enumerate(names)]
        try:
            time.sleep(seconds)
        finally:
            memory.words[AT + 1] = 1
        return memory, [future.result(30) for future in futures]


@pytest.mark.parametrize(
    "names", [["spin"] * 2, ["spin"] * 5, ["write"] * 3, ["write", "read", "read", "write"]]
)
def test_one_at_a_time_and_nobody_starves(image, names):
    memory, results = contend(image, names, 0.3)
    assert [clashes for _, clashes in results] == [0] * len(names)
    writes = sum(n for (n, _), name in zip(results, names, strict=True) if name != "read")
    assert int(memory.words[AT + 3]) == writes
    assert int(memory.words[AT]) == 0
    assert min(n for n, _ in results) > 0


def test_the_states_of_a_lock(image):
    memory = Memory(AT + 64)
    assert image.call("states", memory, 0, AT) == 1010
    assert image.call("two_readers", memory, 0, AT) == 4
    assert image.call("try_states", memory, 0, AT) == 110_100
    assert int(memory.words[AT]) == 0
