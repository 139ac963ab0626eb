"""A VMA of a typesafe slab: the reader that locked another's VMA wakes an mm that is gone.

The reader found the VMA in its own mm; meanwhile the VMA was recycled for ``other``. It sees
that, drops the lock and wakes whoever waits for it. ``other`` unmaps the VMA, waits for its
readers, and exits.

    mkold check docs/gallery/typesafe_vma.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup
from mkold.lang import (
    READ_ONCE,
    KernelFunction,
    Ptr,
    Struct,
    atomic_add_unless,
    atomic_cmpxchg,
    atomic_dec_and_test,
    atomic_inc,
    atomic_t,
    cpu_relax,
    kernel,
    poison,
    u64,
)

SOURCE = (
    "commit 9bbffee67ffd "
    '("mm: fix a UAF when vma->mm is freed after vma->vm_refcnt got dropped")'
)
SENTENCE = "The mm that a reader wakes is there."


class Mm(Struct):
    mm_count: atomic_t
    vma_writer: u64


class Vma(Struct):
    vm_refcnt: atomic_t
    vm_mm: Ptr[Mm]


@kernel
def mmdrop(mm: Ptr[Mm]) -> None:
    if atomic_dec_and_test(mm.mm_count):
        poison(mm.mm_count, 2)


@kernel
def vma_refcount_put(vma: Ptr[Vma], mm: Ptr[Mm]) -> u64:
    atomic_dec_and_test(vma.vm_refcnt)
    return READ_ONCE(mm.vma_writer)  # rcuwait_wake_up()


@kernel
def vma_start_read(vma: Ptr[Vma], mm: Ptr[Mm]) -> None:
    if not atomic_add_unless(vma.vm_refcnt, 1, 0):
        return
    other = READ_ONCE(vma.vm_mm)
    if other != mm:
        atomic_inc(other.mm_count)  # mmgrab()
        vma_refcount_put(vma, other)
        mmdrop(other)


@kernel
def vma_start_read_without_mmgrab(vma: Ptr[Vma], mm: Ptr[Mm]) -> None:
    if not atomic_add_unless(vma.vm_refcnt, 1, 0):
        return
    other = READ_ONCE(vma.vm_mm)
    if other != mm:
        vma_refcount_put(vma, other)


@kernel
def munmap_and_exit(vma: Ptr[Vma], mm: Ptr[Mm]) -> None:
    while atomic_cmpxchg(vma.vm_refcnt, 1, 0) != 1:
        cpu_relax()  # a reader has it
    mmdrop(mm)


def recycled(start_read: KernelFunction) -> Scenario:
    def setup(m: Setup) -> None:
        mm, other, vma = m.new(Mm, "mm"), m.new(Mm, "other"), m.new(Vma, "vma")
        m.poke(mm, 1)
        m.poke(other, 1)
        m.poke(vma, 1)
        m.poke(vma + 1, other)
        m.thread("reader", (start_read, vma, mm))
        m.thread("exit", (munmap_and_exit, vma, other))

    return Scenario(f"recycled-{start_read.name.replace('_', '-')}", setup)


CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("mmgrab() first", recycled(vma_start_read)),)),
    Claim(
        "bug", SENTENCE, SOURCE, (Case("no mmgrab()", recycled(vma_start_read_without_mmgrab)),)
    ),
]
