"""Loops that wait: what goes wrong in them, what leaves them, how often they go round."""

from __future__ import annotations

import pytest
from kernel_text import program

from mkold.ir.program import Program
from mkold.lkmm import Status, Verdict, decide

IMPORTS = """
from mkold.lang import (
    BUG_ON, READ_ONCE, WARN_ON_ONCE, WRITE_ONCE, Ptr, cast, cmpxchg,
    cmpxchg_acquire, cmpxchg_relaxed, cpu_relax, kernel, poison, rcu_read_lock,
    rcu_read_unlock, smp_load_acquire, smp_mb, smp_store_release, spin_lock, spin_unlock,
    spinlock_t, synchronize_rcu, test_and_set_bit, try_cmpxchg, u64, xchg,
)
"""
SEND = """
@kernel
def send(flag: Ptr[u64], data: Ptr[u64]) -> None:
    data.value = 1
    smp_store_release(flag.value, 1)
"""


def decided(made: Program, **ask: object) -> Verdict:
    return decide(made, engine="sat", witness=True, **ask)  # type: ignore[arg-type]


def wait(body: str) -> str:
    """A waiter whose loop has this body; ``f`` is what the flag holds."""
    return f"""{IMPORTS}{SEND}
@kernel
def wait(flag: Ptr[u64], data: Ptr[u64]) -> u64:
    while True:
        f = smp_load_acquire(flag.value)
        {body}
        if f:
            return 1
        cpu_relax()
"""


@pytest.mark.parametrize(
    ("body", "flags"),
    [
        ("d = READ_ONCE(data[1])", ()),
        ("d = data.value", ("data-race",)),
        ("WARN_ON_ONCE(f == 0)", ("warn-on",)),
        ("BUG_ON(f == 0)", ("bug-on",)),
        ("BUG_ON(f > 1)", ()),
    ],
)
def test_what_goes_wrong_while_waiting(body: str, flags: tuple[str, ...]) -> None:
    verdict = decided(program(wait(body), "wait(f, d)", "send(f, d)"))
    assert verdict.status is Status.OK
    assert verdict.flags == flags
    assert set(verdict.flagged) == set(flags)


POINTERS = (
    IMPORTS
    + """
@kernel
def wait(pointer: Ptr[u64]) -> u64:
    while True:
        p = cast(Ptr[u64], READ_ONCE(pointer.value))
        x = READ_ONCE(p.value)
        if x == 7:
            return x
        cpu_relax()

@kernel
def send(pointer: Ptr[u64], old: Ptr[u64], new: Ptr[u64]) -> None:
    WRITE_ONCE(new.value, 7)
    smp_store_release(pointer.value, cast(u64, new))

@kernel
def replace(pointer: Ptr[u64], old: Ptr[u64], new: Ptr[u64]) -> None:
    WRITE_ONCE(new.value, 7)
    poison(old.value, 1)
    smp_store_release(pointer.value, cast(u64, new))

@kernel
def pop_free(head: Ptr[u64]) -> u64:
    while True:
        old = cast(Ptr[u64], READ_ONCE(head.value))
        if not old:
            return 0
        below = READ_ONCE(old.value)
        if cmpxchg_acquire(head.value, cast(u64, old), below) == cast(u64, old):
            poison(old.value, 1)
            return 1
"""
)


@pytest.mark.parametrize(
    ("calls", "init", "flags"),
    [
        (("wait(p)", "send(p, o, n)"), {"p": "o"}, set()),
        (("wait(p)", "send(p, o, n)"), {}, {"null-dereference"}),
        (("wait(p)", "replace(p, o, n)"), {"p": "o"}, {"use-after-free", "data-race"}),
        (("pop_free(h)", "pop_free(h)"), {"h": "a", "a": "b"},
         {"use-after-free", "data-race"}),
    ],
)  # fmt: skip
def test_pointers_followed_while_waiting(
    calls: tuple[str, ...], init: dict[str, int | str], flags: set[str]
) -> None:
    verdict = decided(program(POINTERS, *calls, init=init))
    assert verdict.status is Status.OK
    assert set(verdict.flags) == flags


LOCALS = (
    IMPORTS
    + """
@kernel
def send(flag: Ptr[u64]) -> None:
    WRITE_ONCE(flag.value, 1)

@kernel
def saw(flag: Ptr[u64]) -> u64:
    saw = 0
    while True:
        if READ_ONCE(flag.value):
            break
        saw = 1
        cpu_relax()
    out = saw
    return out

@kernel
def last(flag: Ptr[u64], other: Ptr[u64]) -> u64:
    last = 5
    while True:
        f = READ_ONCE(flag.value)
        if f:
            break
        last = READ_ONCE(other.value)
    out = last
    return out
"""
)


@pytest.mark.parametrize(("call", "outs"), [("saw(f)", {0, 1}), ("last(f, d)", {5, 9})])
def test_a_local_that_leaves_the_loop(call: str, outs: set[int]) -> None:
    made = program(LOCALS, call, "send(f)", observed="0:out", init={"d": 9})
    for engine in ("sat", "masks"):
        verdict = decide(made, engine=engine)
        assert verdict.status is Status.OK
        assert {state[0] for state in verdict.states} == outs


FINITE = (
    IMPORTS
    + """
@kernel
def push(head: Ptr[u64], item: Ptr[u64]) -> None:
    first = READ_ONCE(head.value)
    while True:
        WRITE_ONCE(item.value, first)
        seen = cmpxchg(head.value, first, cast(u64, item))
        if seen == first:
            return
        first = seen

@kernel
def inc(n: Ptr[u64]) -> None:
    old = READ_ONCE(n.value)
    while True:
        ok, old = try_cmpxchg(n.value, old, old + 1)
        if ok:
            return

@kernel
def poll(x: Ptr[u64], y: Ptr[u64]) -> u64:
    for i in range(5):
        WRITE_ONCE(y.value, i)
        if READ_ONCE(x.value):
            return i
    return 99

@kernel
def set_one(x: Ptr[u64]) -> None:
    WRITE_ONCE(x.value, 1)

@kernel
def rmap(head: Ptr[u64], data: Ptr[u64]) -> None:
    old = READ_ONCE(head.value)
    while True:
        while old & 2:
            cpu_relax()
            old = READ_ONCE(head.value)
        ok, old = try_cmpxchg(head.value, old, old | 2)
        if ok:
            break
    smp_mb()
    data.value += 1
    smp_store_release(head.value, old)

@kernel
def bit_lock(word: Ptr[u64], data: Ptr[u64]) -> None:
    while test_and_set_bit(word.value, 0):
        while READ_ONCE(word.value) & 1:
            cpu_relax()
    data.value += 1
    smp_store_release(word.value, 0)

@kernel
def poll_under_lock(lock: Ptr[spinlock_t], x: Ptr[u64]) -> None:
    while True:
        spin_lock(lock.value)
        seen = READ_ONCE(x.value)
        spin_unlock(lock.value)
        if seen:
            break

@kernel
def set_under_lock(lock: Ptr[spinlock_t], x: Ptr[u64]) -> None:
    spin_lock(lock.value)
    WRITE_ONCE(x.value, 1)
    spin_unlock(lock.value)

@kernel
def dekker(mine: Ptr[u64], other: Ptr[u64], turn: Ptr[u64], me: u64, data: Ptr[u64]) -> None:
    WRITE_ONCE(mine.value, 1)
    smp_mb()
    while READ_ONCE(other.value):
        if READ_ONCE(turn.value) != me:
            WRITE_ONCE(mine.value, 0)
            while READ_ONCE(turn.value) != me:
                cpu_relax()
            WRITE_ONCE(mine.value, 1)
            smp_mb()
    smp_mb()
    data.value += 1
    smp_mb()
    WRITE_ONCE(turn.value, 1 - me)
    smp_store_release(mine.value, 0)
"""
)


@pytest.mark.parametrize(
    ("calls", "observed", "states"),
    [
        (("push(h, a)", "push(h, b)", "push(h, c)"), "", 1),
        (("inc(n)", "inc(n)", "inc(n)"), "n", 1),
        (("poll(x, y)", "set_one(x)"), "y", 5),
        (("rmap(h, d)", "rmap(h, d)"), "d h", 1),
        (("bit_lock(w, d)", "bit_lock(w, d)"), "d", 1),
        (("poll_under_lock(l, x)", "set_under_lock(l, x)"), "x", 1),
        (("dekker(a, b, t, 0, d)", "dekker(b, a, t, 1, d)"), "d", 1),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_finite_loop_needs_no_bound(
    calls: tuple[str, ...], observed: str, states: int
) -> None:
    verdict = decided(program(FINITE, *calls, observed=observed))
    assert verdict.status is Status.OK
    assert len(verdict.states) == states
    assert verdict.flags == ()


WORKER = (
    IMPORTS
    + """
@kernel
def work(lock: Ptr[spinlock_t], n: Ptr[u64], stop: Ptr[u64]) -> u64:
    done: u64 = 0
    while True:
        spin_lock(lock.value)
        if n.value:
            n.value -= 1
            spin_unlock(lock.value)
            done += 1
            continue
        if stop.value:
            spin_unlock(lock.value)
            return done
        spin_unlock(lock.value)
        cpu_relax()

@kernel
def queue(lock: Ptr[spinlock_t], n: Ptr[u64], stop: Ptr[u64], last: u64) -> None:
    spin_lock(lock.value)
    n.value += 1
    stop.value = last
    spin_unlock(lock.value)
"""
)


@pytest.mark.parametrize(("last", "flags"), [(1, ()), (0, ("hang",))])
def test_a_lock_may_be_left_on_several_ways(last: int, flags: tuple[str, ...]) -> None:
    """A round that finds nothing to do waits, whichever of its unlocks it takes."""
    verdict = decided(program(WORKER, "work(l, n, s)", f"queue(l, n, s, {last})", observed="n"))
    assert verdict.status is Status.OK
    assert verdict.flags == flags
    assert verdict.states == (() if flags else ((0,),))


def test_retries_end_where_the_others_do() -> None:
    """Whatever bound was asked for: how often it fails is how often others write."""
    verdict = decided(program(FINITE, *["inc(n)"] * 4, observed="n"), max_unroll=2)
    assert verdict.status is Status.OK
    assert verdict.states == ((4,),)


ENDLESS = (
    IMPORTS
    + """
@kernel
def beat(x: Ptr[u64], stop: Ptr[u64]) -> None:
    n = 0
    while not READ_ONCE(stop.value):
        n += 1
        WRITE_ONCE(x.value, n)

@kernel
def set_one(x: Ptr[u64]) -> None:
    WRITE_ONCE(x.value, 1)

@kernel
def never_counts_up(x: Ptr[u64]) -> None:
    i: u64 = 0
    while i < 2:
        i = 0
        while i < 2:
            WRITE_ONCE(x.value, i)
            if READ_ONCE(x[1]) == 0:
                break
            i += 1
        i += 1

@kernel
def set_plainly(x: Ptr[u64]) -> None:
    x.value = 1
"""
)


def test_a_bound_that_is_hit_is_told() -> None:
    verdict = decided(program(ENDLESS, "beat(x, s)", "set_one(s)"), max_unroll=3)
    assert verdict.status is Status.BOUNDED
    assert verdict.flags == ()


def test_a_count_that_gets_nowhere_is_no_count() -> None:
    made = program(ENDLESS, "never_counts_up(x)", "set_plainly(x)")
    verdict = decided(made, max_unroll=3, timeout_s=20.0)
    assert verdict.status is Status.BOUNDED
    assert verdict.flags == ("data-race",)


def test_what_goes_wrong_before_a_bound_is_told() -> None:
    made = program(ENDLESS, "beat(x, s)", "set_plainly(x)")  # nobody sets s
    verdict = decided(made, max_unroll=3)
    assert verdict.status is Status.BOUNDED
    assert verdict.flags == ("data-race",)


FREED = (
    IMPORTS
    + """
@kernel
def walk(count: Ptr[u64]) -> u64:
    n = 0
    for i in range(READ_ONCE(count.value)):
        n += READ_ONCE(count[1])
    return n

@kernel
def drop(count: Ptr[u64]) -> None:
    poison(count.value, 1)
"""
)


def test_freed_memory_as_a_bound() -> None:
    verdict = decided(program(FREED, "walk(c)", "drop(c)", init={"c": 2}))
    assert "use-after-free" in verdict.flags
    assert verdict.status is Status.OK
