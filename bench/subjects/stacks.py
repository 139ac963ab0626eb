"""Stacks without locks, and messages handed on: Treiber's stack, llist, a chain of threads.

Sources: lib/llist.c (``llist_add_batch``); R. K. Treiber, "Systems Programming: Coping with
Parallelism", 1986.
"""

from __future__ import annotations

from mkold.check import End, Scenario, Setup
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    cmpxchg,
    kernel,
    smp_load_acquire,
    smp_store_release,
    try_cmpxchg,
    try_cmpxchg_release,
    u64,
)

DATA = 7


class Item(Struct):
    next: Ptr[Item]
    data: u64


class Head(Struct):
    first: Ptr[Item]


class Word(Struct):
    value: u64


@kernel
def push(head: Ptr[Head], item: Ptr[Item]) -> None:
    item.data = DATA
    old = READ_ONCE(head.first)
    while True:
        WRITE_ONCE(item.next, old)
        done, old = try_cmpxchg_release(head.first, old, item)
        if done:
            return


@kernel
def pop(head: Ptr[Head]) -> u64:
    while True:
        top = smp_load_acquire(head.first)
        if top == NULL:
            return 0
        below = READ_ONCE(top.next)
        if cmpxchg(head.first, top, below) == top:
            return top.data


@kernel
def llist_add(item: Ptr[Item], head: Ptr[Head]) -> bool:
    first = READ_ONCE(head.first)
    while True:
        WRITE_ONCE(item.next, first)
        done, first = try_cmpxchg(head.first, first, item)
        if done:
            return first == NULL


@kernel
def begin(data: Ptr[Word], flag: Ptr[Word]) -> None:
    WRITE_ONCE(data.value, 1)
    smp_store_release(flag.value, 1)


@kernel
def hand_on(mine: Ptr[Word], following: Ptr[Word]) -> u64:
    seen = smp_load_acquire(mine.value)
    smp_store_release(following.value, seen)
    return seen


@kernel
def end(flag: Ptr[Word], data: Ptr[Word]) -> tuple[u64, u64]:
    seen = smp_load_acquire(flag.value)
    return seen, READ_ONCE(data.value)


def treiber(pushers: int, poppers: int) -> Scenario:
    """Items are pushed and popped; none is pushed again."""

    def setup(m: Setup) -> None:
        head = m.new(Head, "head")
        for i in range(pushers):
            m.thread(f"push{i}", (push, head, m.new(Item, f"item{i}")))
        for i in range(poppers):
            m.thread(f"pop{i}", (pop, head))
        m.watch("head", head)

        def torn(last: End) -> bool:
            return any(last.result(f"pop{i}") not in (0, DATA) for i in range(poppers))

        m.never("unset-data", torn, "A popped item has no data yet.")

    return Scenario(f"treiber-{pushers}-{poppers}", setup)


def llist(adders: int) -> Scenario:
    """Every adder's item is in the list."""

    def setup(m: Setup) -> None:
        head = m.new(Head, "head")
        for i in range(adders):
            m.thread(f"add{i}", (llist_add, m.new(Item, f"item{i}"), head))
        m.watch("head", head)
        m.never("empty", lambda last: last["head"] == 0, "The list is empty.")

    return Scenario(f"llist-{adders}", setup)


def chain(n: int) -> Scenario:
    """A message through ``n`` threads."""

    def setup(m: Setup) -> None:
        data = m.new(Word, "data")
        flags = [m.new(Word, f"flag{i}") for i in range(n)]
        m.thread("first", (begin, data, flags[0]))
        for i in range(n - 1):
            m.thread(f"link{i}", (hand_on, flags[i], flags[i + 1]))
        m.thread("last", (end, flags[-1], data))

        def stale(last: End) -> bool:
            return last.result("last") == 1 and last.result("last", -1, 1) == 0

        m.never("stale", stale, "The message came before its data.")

    return Scenario(f"chain-{n}", setup)
