"""GUP-fast against fork: a page is pinned for writing while fork makes it copy-on-write.

Fork holds ``write_protect_seq`` odd around its copy of the page table; GUP-fast pins between
two looks at it. One page.

    mkold check docs/gallery/gup_fast_fork.py --explain
"""

from mkold.check import Case, Claim, End, Scenario, Setup, Swap
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    atomic_dec,
    atomic_inc,
    atomic_read,
    atomic_t,
    kernel,
    smp_load_acquire,
    smp_mb,
    smp_mb__after_atomic,
    smp_wmb,
    u64,
)

SOURCE = 'commit 57efa1fe5957 ("mm/gup: prevent gup_fast from racing with COW during fork")'
SENTENCE = "A page that fork shares is not pinned for writing."

PRESENT, WRITE = 1, 2


class Mm(Struct):
    write_protect_seq: u64
    pte: u64
    pins: atomic_t


@kernel
def copy_page_range(mm: Ptr[Mm]) -> bool:
    """Whether the page is shared; a pinned one is copied."""
    WRITE_ONCE(mm.write_protect_seq, READ_ONCE(mm.write_protect_seq) + 1)
    smp_mb()
    shared = atomic_read(mm.pins) == 0
    if shared:
        WRITE_ONCE(mm.pte, READ_ONCE(mm.pte) & ~WRITE)
    smp_wmb()
    WRITE_ONCE(mm.write_protect_seq, READ_ONCE(mm.write_protect_seq) + 1)
    return shared


@kernel
def gup_fast(mm: Ptr[Mm]) -> bool:
    seq = smp_load_acquire(mm.write_protect_seq)
    if seq & 1 or not READ_ONCE(mm.pte) & WRITE:
        return False
    atomic_inc(mm.pins)
    smp_mb__after_atomic()
    if READ_ONCE(mm.write_protect_seq) == seq:
        return True
    atomic_dec(mm.pins)
    return False


@kernel
def gup_fast_without_seq(mm: Ptr[Mm]) -> bool:
    pte = READ_ONCE(mm.pte)
    if not pte & WRITE:
        return False
    atomic_inc(mm.pins)
    smp_mb__after_atomic()
    if READ_ONCE(mm.pte) == pte:
        return True
    atomic_dec(mm.pins)
    return False


def fork_and(gup: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        mm = m.new(Mm, "mm")
        m.poke(mm + 1, PRESENT | WRITE)
        m.thread("fork", (copy_page_range, mm))
        m.thread("gup", (gup, mm))

        def both(end: End) -> bool:
            return bool(end.result("gup") and end.result("fork"))

        m.never("pinned-and-shared", both, "A page pinned for writing is shared by fork.")

    return Scenario(f"fork-{gup.name.replace('_', '-')}", setup)


SCENARIO = fork_and(gup_fast)
WEAK = (Swap("copy_page_range:smp_mb", "smp_wmb"),)

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("a seqcount around the copy", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("the entry looked at again", fork_and(gup_fast_without_seq)),
            Case("a seqcount without smp_mb()", SCENARIO, WEAK),
        ),
    ),
]
