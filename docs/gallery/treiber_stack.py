"""A Treiber stack with two consumers: A, B and A again, and B is taken twice.

``llist_del_first()``: the compare-and-swap sees that the head is the node it was, not that
the node's successor is. Another consumer takes two nodes and puts the first one back.

    mkold check docs/gallery/treiber_stack.py --explain
"""

from mkold.check import Case, Claim, Drop, End, Scenario, Setup
from mkold.lang import (
    NULL,
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    cmpxchg,
    kernel,
    poison,
    smp_load_acquire,
    spin_lock,
    spin_unlock,
    spinlock_t,
)

SOURCE = "lib/llist.c at 0ea5c948cb64, llist_del_first() and the comment before it"
SENTENCE = "Nobody takes a node that somebody else has."


class Node(Struct):
    next: "Ptr[Node]"


class Stack(Struct):
    lock: spinlock_t
    first: Ptr[Node]


@kernel
def llist_add(new: Ptr[Node], stack: Ptr[Stack]) -> None:
    while True:
        first = READ_ONCE(stack.first)
        WRITE_ONCE(new.next, first)
        if cmpxchg(stack.first, first, new) == first:
            return


@kernel
def llist_del_first(stack: Ptr[Stack]) -> Ptr[Node]:
    while True:
        first = smp_load_acquire(stack.first)
        if not first:
            return NULL
        next = READ_ONCE(first.next)
        if cmpxchg(stack.first, first, next) == first:
            return first


@kernel
def take(stack: Ptr[Stack]) -> Ptr[Node]:
    spin_lock(stack.lock)  # one consumer at a time
    node = llist_del_first(stack)
    spin_unlock(stack.lock)
    return node


@kernel
def take_two_put_one(stack: Ptr[Stack]) -> Ptr[Node]:
    node = take(stack)
    kept = take(stack)
    if node:
        llist_add(node, stack)
    return kept


@kernel
def take_and_free(stack: Ptr[Stack]) -> None:
    node = take(stack)
    if node:
        poison(node.next, 1)


def two_consumers(m: Setup) -> None:
    stack, a, b = m.new(Stack, "stack"), m.new(Node, "a"), m.new(Node, "b")
    m.poke(stack + 1, a)
    m.poke(a, b)
    m.watch("stack.first", stack + 1)
    m.thread("one", (take, stack))
    m.thread("other", (take_two_put_one, stack))

    def twice(end: End) -> bool:
        kept = end.result("other")
        return bool(kept) and kept in (end["stack.first"], end.result("one"))

    m.never("twice", twice, "A node that a consumer has is on the stack, or has another owner.")


def both_free(m: Setup) -> None:
    stack, a, b = m.new(Stack, "stack"), m.new(Node, "a"), m.new(Node, "b")
    m.poke(stack + 1, a)
    m.poke(a, b)
    m.thread("one", (take_and_free, stack))
    m.thread("other", (take_and_free, stack))


SCENARIO = Scenario("stack", two_consumers)
FREED = Scenario("stack-freed", both_free)
NO_LOCK = (Drop("take:spin_lock"), Drop("take:spin_unlock"))

CLAIMS = [
    Claim(
        "fixed",
        SENTENCE,
        SOURCE,
        (
            Case("a lock between consumers", SCENARIO),
            Case("a lock, nodes freed at once", FREED),
        ),
    ),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("no lock", SCENARIO, NO_LOCK),
            Case("no lock, nodes freed at once", FREED, NO_LOCK),
        ),
    ),
]
