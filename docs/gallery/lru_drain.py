"""lru_add_drain_all(): a page stays in its CPU's batch though somebody has just drained all.

Who finds that a newer drain has begun leaves the work to it. The drain's generation was
counted as a latch, which has write barriers only.

    mkold check docs/gallery/lru_drain.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup, Swap
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    kernel,
    smp_load_acquire,
    smp_mb,
    spin_lock,
    spin_unlock,
    spinlock_t,
    u64,
)

SOURCE = 'commit 6446a5131e24 ("mm/swap: Do not abuse the seqcount_t latching API")'
SENTENCE = "A page added before lru_add_drain_all() is drained when it returns."


class Lru(Struct):
    lock: spinlock_t  # a mutex
    drain_gen: u64
    batch: u64  # of the one CPU that adds pages


@kernel
def lru_add_drain_all(lru: Ptr[Lru]) -> None:
    smp_mb()
    this_gen = smp_load_acquire(lru.drain_gen)
    spin_lock(lru.lock)
    if READ_ONCE(lru.drain_gen) == this_gen:
        WRITE_ONCE(lru.drain_gen, this_gen + 1)
        smp_mb()
        if READ_ONCE(lru.batch):
            WRITE_ONCE(lru.batch, 0)
    spin_unlock(lru.lock)


@kernel
def add_and_drain(lru: Ptr[Lru]) -> None:
    WRITE_ONCE(lru.batch, 1)
    lru_add_drain_all(lru)


def two_drains(m: Setup) -> None:
    lru = m.new(Lru, "lru")
    m.watch("lru.batch", lru + Lru.offset("batch"))
    m.thread("add", (add_and_drain, lru))
    m.thread("drain", (lru_add_drain_all, lru))
    m.never("left", lambda end: bool(end["lru.batch"]), "The page is in the batch still.")


SCENARIO = Scenario("drain", two_drains)
LATCH = (Swap("lru_add_drain_all:smp_mb[1]", "smp_wmb"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("smp_mb() after the count", SCENARIO),)),
    Claim("bug", SENTENCE, SOURCE, (Case("the latch's smp_wmb()", SCENARIO, LATCH),)),
]
