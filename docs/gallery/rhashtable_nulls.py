"""A hash chain: a lookup follows an object that moves to another chain, and misses its own.

A chain ends with a mark that says which chain it is. ``y`` stays where it is, behind ``x``;
``x`` moves.

    mkold check docs/gallery/rhashtable_nulls.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    cast,
    kernel,
    rcu_assign_pointer,
    rcu_dereference,
    rcu_read_lock,
    rcu_read_unlock,
    u64,
)

SOURCE = (
    "commit 82208d0d54ab "
    '("rhashtable: detect when object movement between tables might have invalidated a lookup")'
)
SENTENCE = "An object that stays in its chain is found."

NULLS = 1  # the low bit of a chain's end


class Node(Struct):
    next: u64
    key: u64


@kernel
def walk(chain: Ptr[u64], key: u64) -> u64:
    """1 if found, else the mark at the end."""
    p = rcu_dereference(chain.value)
    while not p & NULLS:
        node = cast(Ptr[Node], p)
        if READ_ONCE(node.key) == key:
            return 1
        p = rcu_dereference(node.next)
    return p


@kernel
def lookup(chain: Ptr[u64], mark: u64, key: u64) -> bool:
    rcu_read_lock()
    end = walk(chain, key)
    while end != 1 and end != mark:
        end = walk(chain, key)
    rcu_read_unlock()
    return end == 1


@kernel
def lookup_once(chain: Ptr[u64], mark: u64, key: u64) -> bool:
    rcu_read_lock()
    end = walk(chain, key)
    rcu_read_unlock()
    return end == 1


@kernel
def move_first(source: Ptr[u64], target: Ptr[u64]) -> None:
    node = cast(Ptr[Node], READ_ONCE(source.value))
    WRITE_ONCE(source.value, READ_ONCE(node.next))
    WRITE_ONCE(node.next, READ_ONCE(target.value))
    rcu_assign_pointer(target.value, node)


def moving(find: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        a, b = m.words(1, "a"), m.words(1, "b")
        x, y = (m.words(Node.size, align=2) for _ in "xy")
        for name, node, key in (("x", x, 10), ("y", y, 20)):
            m.name(f"{name}.next", node)
            m.name(f"{name}.key", node + 1)
            m.poke(node + 1, key)
        mark_a, mark_b = a << 4 | NULLS, b << 4 | NULLS
        for word, value in ((a, x), (x, y), (y, mark_a), (b, mark_b)):
            m.poke(word, value)
        m.thread("lookup", (find, a, mark_a, 20))
        m.thread("move", (move_first, a, b))
        m.never("missed", lambda end: not end.result("lookup"), "y is in its chain, not found.")

    return Scenario(f"moving-{find.name.replace('_', '-')}", setup)


CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("again if the mark is another's", moving(lookup)),)),
    Claim("bug", SENTENCE, SOURCE, (Case("the mark not looked at", moving(lookup_once)),)),
]
