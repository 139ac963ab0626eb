"""A 20-line lockless structure and three claims about it: try it, then break it.

``root`` points at a config. Readers follow the pointer without a lock; an update puts a
new config in place, waits for a grace period, and frees the old one.

    mkold check docs/examples/claims.py
    mkold check docs/examples/claims.py --explain
    mkold check docs/examples/claims.py --needed
"""

from __future__ import annotations

from mkold.check import Case, Claim, Drop, End, Exchange, Scenario, Setup, Swap
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    kernel,
    poison,
    rcu_assign_pointer,
    rcu_dereference,
    rcu_read_lock,
    rcu_read_unlock,
    synchronize_rcu,
    u64,
)


class Config(Struct):
    width: u64
    height: u64


class Root(Struct):
    config: Ptr[Config]


@kernel
def area(root: Ptr[Root]) -> u64:
    rcu_read_lock()
    config = rcu_dereference(root.config)
    result = READ_ONCE(config.width) * READ_ONCE(config.height)
    rcu_read_unlock()
    return result


@kernel
def update(root: Ptr[Root], new: Ptr[Config], width: u64, height: u64) -> None:
    old = READ_ONCE(root.config)
    WRITE_ONCE(new.width, width)
    WRITE_ONCE(new.height, height)
    rcu_assign_pointer(root.config, new)
    synchronize_rcu()
    poison(old.width, 2)  # kfree(old)


def reader_and_update(m: Setup) -> None:
    root = m.new(Root, "root")
    old = m.new(Config, "old")
    m.poke(old, 3)
    m.poke(old + 1, 4)
    new = m.raw(Config.size)  # fresh memory: not zero, POISON
    m.name("new.width", new)
    m.name("new.height", new + 1)
    m.poke(root, old)
    m.thread("reader", (area, root))
    m.thread("updater", (update, root, new, 5, 6))

    def torn(end: End) -> bool:
        return end.result("reader") not in (12, 30)

    m.never("torn", torn, "The reader multiplies a width and a height of two configs.")


SCENARIO = Scenario("config-update", reader_and_update)

CLAIMS = [
    Claim(
        "config-freed",
        "A reader never touches a config after it was freed.",
        "this file",
        (
            Case("as written", SCENARIO),
            Case("no grace period", SCENARIO, (Drop("update:synchronize_rcu"),), decides=False),
            Case(
                "free, then publish",
                SCENARIO,
                (Exchange("update:rcu_assign_pointer", "update:poison"),),
                decides=False,
            ),
        ),
    ),
    Claim(
        "config-torn",
        "A reader sees the width and the height of one config.",
        "this file",
        (Case("as written", SCENARIO, only=frozenset({"torn"})),),
    ),
    Claim(
        "config-plain-publish",
        "Publishing with WRITE_ONCE in place of rcu_assign_pointer would do as well.",
        "this file",
        (Case("WRITE_ONCE", SCENARIO, (Swap("update:rcu_assign_pointer", "WRITE_ONCE"),)),),
    ),
]
