"""The Chase-Lev deque: the owner and a thief take the same item.

The owner takes at the bottom, thieves at the top; a compare-and-swap decides about the last
item alone. Two items; the array does not grow. Not kernel code: the barriers are those of
the paper, in the kernel's terms.

    mkold check docs/gallery/chase_lev.py --explain
"""

from mkold.check import Case, Claim, Drop, End, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Ptr,
    Struct,
    cmpxchg,
    kernel,
    smp_load_acquire,
    smp_mb,
    u64,
)

SOURCE = (
    "N. M. Le, A. Pop, A. Cohen, F. Zappa Nardelli: Correct and efficient work-stealing for "
    "weak memory models, PPoPP 2013, doi:10.1145/2442516.2442524"
)
SENTENCE = "Nobody takes an item that somebody else has taken."

EMPTY, ITEM = 0, 100
FIRST, SIZE = 1, 4


class Deque(Struct):
    top: u64
    bottom: u64
    items: Array[u64, SIZE]


@kernel
def take(d: Ptr[Deque]) -> u64:
    bottom = READ_ONCE(d.bottom) - 1
    WRITE_ONCE(d.bottom, bottom)
    smp_mb()
    top = READ_ONCE(d.top)
    if top > bottom:
        WRITE_ONCE(d.bottom, bottom + 1)
        return EMPTY
    item = READ_ONCE(d.items[bottom % SIZE])
    if top == bottom:
        if cmpxchg(d.top, top, top + 1) != top:
            item = EMPTY
        WRITE_ONCE(d.bottom, bottom + 1)
    return item


@kernel
def steal(d: Ptr[Deque]) -> u64:
    top = smp_load_acquire(d.top)
    smp_mb()
    if top >= smp_load_acquire(d.bottom):
        return EMPTY
    item = READ_ONCE(d.items[top % SIZE])
    if cmpxchg(d.top, top, top + 1) != top:
        return EMPTY
    return item


def owner_and_thieves(m: Setup) -> None:
    d = m.new(Deque, "d")
    m.poke(d, FIRST)
    m.poke(d + 1, FIRST + 2)
    for i in (FIRST, FIRST + 1):
        m.poke(d + Deque.offset("items") + i % SIZE, ITEM + i)
    m.thread("owner", (take, d))
    m.thread("thief 1", (steal, d))
    m.thread("thief 2", (steal, d))

    def twice(end: End) -> bool:
        taken = [end.result(thread) for thread in ("owner", "thief 1", "thief 2")]
        return any(taken.count(item) > 1 for item in taken if item != EMPTY)

    m.never("twice", twice, "Two have taken the same item.")


SCENARIO = Scenario("owner-and-thieves", owner_and_thieves)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("smp_mb() on either side", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("no smp_mb() in take()", SCENARIO, (Drop("take:smp_mb"),)),
            Case("no smp_mb() in steal()", SCENARIO, (Drop("steal:smp_mb"),)),
        ),
    ),
]
