"""A ring with one producer and one consumer: an entry is overwritten before it was read.

The ring of AF_XDP with one entry, so that it is full at once. Entries are plain words.

    mkold check docs/gallery/spsc_ring.py --explain
"""

from mkold.check import Case, Claim, End, Scenario, Setup, Swap
from mkold.lang import (
    READ_ONCE,
    Array,
    Ptr,
    Struct,
    kernel,
    smp_load_acquire,
    smp_store_release,
    u64,
)

SOURCE = 'commit a23b3f5697e6 ("xsk: Update rings for load-acquire/store-release barriers")'
SENTENCE = "What the consumer takes is what was produced, each once, in order."

SIZE = 1


class Ring(Struct):
    producer: u64
    consumer: u64
    entries: Array[u64, SIZE]


@kernel
def produce(ring: Ptr[Ring], entry: u64) -> bool:
    index = READ_ONCE(ring.producer)
    if index - smp_load_acquire(ring.consumer) >= SIZE:
        return False
    ring.entries[index % SIZE] = entry
    smp_store_release(ring.producer, index + 1)
    return True


@kernel
def consume(ring: Ptr[Ring]) -> u64:
    index = READ_ONCE(ring.consumer)
    if smp_load_acquire(ring.producer) == index:
        return 0
    entry = ring.entries[index % SIZE]
    smp_store_release(ring.consumer, index + 1)
    return entry


def two_entries(m: Setup) -> None:
    ring = m.new(Ring, "ring")
    m.thread("producer", (produce, ring, 1), (produce, ring, 2))
    m.thread("consumer", (consume, ring), (consume, ring))

    def wrong(end: End) -> bool:
        made = [n for i, n in ((0, 1), (1, 2)) if end.result("producer", i)]
        taken = [n for n in (end.result("consumer", 0), end.result("consumer", 1)) if n]
        return taken != made[: len(taken)]

    m.never("wrong-entry", wrong, "The consumer takes what was not produced in this order.")


SCENARIO = Scenario("ring", two_entries)


def relaxed(function: str, *swaps: tuple[str, str]) -> tuple[Swap, ...]:
    return tuple(Swap(f"{function}:{old}", new) for old, new in swaps)


LOAD, STORE = ("smp_load_acquire", "READ_ONCE"), ("smp_store_release", "WRITE_ONCE")

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("acquire and release on both sides", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("the consumer gives back by WRITE_ONCE", SCENARIO, relaxed("consume", STORE)),
            Case("the consumer looks by READ_ONCE", SCENARIO, relaxed("consume", LOAD)),
            Case("the producer hands over by WRITE_ONCE", SCENARIO, relaxed("produce", STORE)),
        ),
    ),
]
