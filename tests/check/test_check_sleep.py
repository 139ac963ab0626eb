"""Sleeping where one must not."""

from __future__ import annotations

import pytest

from mkold.check import Case, End, Scenario, Setup
from mkold.check.decide import decide_case
from mkold.lang import (
    READ_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    call_rcu,
    kernel,
    might_sleep,
    mutex,
    mutex_lock,
    mutex_trylock,
    mutex_unlock,
    rcu_read_lock,
    rcu_read_unlock,
    read_lock,
    read_unlock,
    rwlock_t,
    spin_lock,
    spin_trylock,
    spin_unlock,
    spinlock_t,
    srcu_read_lock,
    srcu_read_unlock,
    synchronize_rcu,
    synchronize_rcu_expedited,
    synchronize_srcu,
    u64,
    write_lock,
    write_unlock,
)


class S(Struct):
    lock: spinlock_t
    rw: rwlock_t
    srcu: u64
    mutex: mutex
    word: u64


@kernel
def wait() -> None:
    synchronize_rcu()


@kernel
def under_a_spinlock(s: Ptr[S]) -> None:
    spin_lock(s.lock)
    wait()
    spin_unlock(s.lock)


@kernel
def under_a_spinlock_tried(s: Ptr[S]) -> None:
    if spin_trylock(s.lock):
        synchronize_rcu_expedited()
        spin_unlock(s.lock)


@kernel
def under_a_read_lock(s: Ptr[S]) -> None:
    read_lock(s.rw)
    synchronize_srcu(s.srcu)
    read_unlock(s.rw)


@kernel
def under_a_write_lock(s: Ptr[S]) -> None:
    write_lock(s.rw)
    synchronize_srcu(s.srcu)
    write_unlock(s.rw)


@kernel
def in_a_section(s: Ptr[S]) -> None:
    rcu_read_lock()
    rcu_read_lock()
    rcu_read_unlock()
    synchronize_srcu(s.srcu)
    rcu_read_unlock()


@kernel
def with_a_mutex_in_a_lock(s: Ptr[S]) -> None:
    spin_lock(s.lock)
    mutex_lock(s.mutex)
    mutex_unlock(s.mutex)
    spin_unlock(s.lock)


@kernel
def which_may_sleep(s: Ptr[S]) -> None:
    spin_lock(s.lock)
    might_sleep()
    spin_unlock(s.lock)


@kernel
def tries_a_mutex_in_a_lock(s: Ptr[S]) -> None:
    spin_lock(s.lock)
    if mutex_trylock(s.mutex):
        mutex_unlock(s.mutex)
    spin_unlock(s.lock)
    might_sleep()


@kernel
def under_a_mutex(s: Ptr[S]) -> None:
    mutex_lock(s.mutex)
    spin_lock(s.lock)
    spin_unlock(s.lock)
    synchronize_rcu()
    mutex_unlock(s.mutex)


@kernel
def on_one_way(s: Ptr[S]) -> None:
    taken = READ_ONCE(s.word) != 0
    if taken:
        spin_lock(s.lock)
    synchronize_rcu()
    if taken:
        spin_unlock(s.lock)


@kernel
def sleeps(word: u64) -> None:
    synchronize_rcu()


@kernel
def in_a_callback(s: Ptr[S]) -> None:
    call_rcu(sleeps, 1)


@kernel
def after_all(s: Ptr[S]) -> None:
    if spin_trylock(s.lock):
        spin_unlock(s.lock)
    spin_lock(s.lock)
    read_lock(s.rw)
    read_unlock(s.rw)
    spin_unlock(s.lock)
    rcu_read_lock()
    rcu_read_unlock()
    for _ in range(3):
        write_lock(s.rw)
        write_unlock(s.rw)
    synchronize_rcu()


@kernel
def in_an_srcu_section(s: Ptr[S]) -> None:
    cookie = srcu_read_lock(s.srcu)
    synchronize_rcu()
    srcu_read_unlock(s.srcu, cookie)


@kernel
def on_the_way_without(s: Ptr[S]) -> None:
    if spin_trylock(s.lock):
        spin_unlock(s.lock)
    else:
        synchronize_rcu()


@kernel
def unlocks(s: Ptr[S]) -> None:
    read_lock(s.rw)
    read_unlock(s.rw)
    read_unlock(s.rw)


@kernel
def locks(s: Ptr[S]) -> None:
    read_lock(s.rw)


def broken(function: KernelFunction, word: int = 0) -> tuple[str, ...]:
    def setup(m: Setup) -> None:
        s = m.new(S, "s")
        m.poke(s + S.offset("word"), word)
        m.thread("t", (function, s))

    found = decide_case(Case("as written", Scenario("sleep", setup)), show=False)
    assert found.status != "undecided"
    return found.broken


@pytest.mark.parametrize(
    "function",
    [under_a_spinlock, under_a_spinlock_tried, under_a_read_lock, under_a_write_lock,
     in_a_section, in_a_callback, with_a_mutex_in_a_lock, which_may_sleep],
    ids=lambda function: function.name,
)  # fmt: skip
def test_it_must_not_sleep_there(function: KernelFunction) -> None:
    assert "sleep-in-atomic" in broken(function)


@pytest.mark.parametrize(
    "function",
    [after_all, under_a_mutex, in_an_srcu_section, on_the_way_without, tries_a_mutex_in_a_lock],
    ids=lambda function: function.name,
)
def test_it_may_sleep_there(function: KernelFunction) -> None:
    assert broken(function) == ()


@kernel
def awaits_itself(s: Ptr[S]) -> None:
    rcu_read_lock()
    synchronize_rcu()
    rcu_read_unlock()


@kernel
def takes_it_twice(s: Ptr[S]) -> None:
    mutex_lock(s.mutex)
    spin_lock(s.lock)
    mutex_lock(s.mutex)
    spin_unlock(s.lock)


@pytest.mark.parametrize(
    "function", [awaits_itself, takes_it_twice], ids=lambda function: function.name
)
def test_it_must_not_sleep_there_for_ever_either(function: KernelFunction) -> None:
    assert broken(function) == ("hang", "sleep-in-atomic")


def test_only_the_way_that_holds_something_counts() -> None:
    assert broken(on_one_way, 0) == ()
    assert broken(on_one_way, 1) == ("sleep-in-atomic",)


def test_a_reader_writer_lock_is_released_that_the_thread_does_not_hold() -> None:
    assert broken(unlocks) == ("unmatched-unlock",)
    assert broken(locks) == ()


@kernel
def adds_if_it_gets_it(s: Ptr[S]) -> bool:
    done = mutex_trylock(s.mutex)
    if done:
        s.word += 1
        mutex_unlock(s.mutex)
    return done


def test_a_mutex_that_is_tried_keeps_others_out() -> None:
    def setup(m: Setup) -> None:
        s = m.new(S, "s")
        for name in "ab":
            m.thread(name, (adds_if_it_gets_it, s))
        m.watch("word", s + S.offset("word"))

        def done(end: End) -> int:
            return end.result("a") + end.result("b")

        m.never("lost", lambda end: end["word"] != done(end), "An addition was lost.")
        m.never("both", lambda end: done(end) == 2, "Both may have it, one after the other.")
        m.never("none", lambda end: done(end) == 0, "One of them gets it.")

    found = decide_case(Case("as written", Scenario("tried", setup)), show=False)
    assert found.broken == ("both",)
