"""A seqcount latch: a reader takes one half from a copy that is being written.

There are two copies; the count's low bit says which one to read. A writer may be interrupted
anywhere, so readers never wait: they read the other copy.

    mkold check docs/gallery/seqcount_latch.py --explain
"""

from mkold.check import Case, Claim, Drop, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Ptr,
    Struct,
    kernel,
    smp_rmb,
    smp_wmb,
    u64,
)

SOURCE = 'commit d16317de9b41 ("seqlock/latch: Provide raw_read_seqcount_latch_retry()")'
SENTENCE = "A reader sees both halves of one value."


class Latch(Struct):
    seq: u64
    low: Array[u64, 2]
    high: Array[u64, 2]


@kernel
def raw_write_seqcount_latch(latch: Ptr[Latch]) -> None:
    smp_wmb()
    WRITE_ONCE(latch.seq, READ_ONCE(latch.seq) + 1)
    smp_wmb()


@kernel
def update(latch: Ptr[Latch], low: u64, high: u64) -> None:
    for i in range(2):
        raw_write_seqcount_latch(latch)
        WRITE_ONCE(latch.low[i], low)
        WRITE_ONCE(latch.high[i], high)


@kernel
def read(latch: Ptr[Latch]) -> u64:
    while True:
        seq = READ_ONCE(latch.seq)
        value = READ_ONCE(latch.low[seq & 1]) * 16 + READ_ONCE(latch.high[seq & 1])
        smp_rmb()
        if READ_ONCE(latch.seq) == seq:  # raw_read_seqcount_latch_retry()
            return value


def reader_and_writer(m: Setup) -> None:
    latch = m.new(Latch, "latch")
    m.thread("reader", (read, latch))
    m.thread("writer", (update, latch, 1, 1))
    m.never(
        "torn", lambda end: end.result("reader") not in (0, 17), "The halves are of two values."
    )


SCENARIO = Scenario("latch", reader_and_writer)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("all barriers", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("no smp_rmb() before the retry", SCENARIO, (Drop("read:smp_rmb"),)),
            Case(
                "no smp_wmb() after the count",
                SCENARIO,
                (Drop("raw_write_seqcount_latch:smp_wmb[1]"),),
            ),
        ),
    ),
]
