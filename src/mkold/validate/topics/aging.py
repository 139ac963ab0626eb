"""Young or not: what the host asks and clears, and what is mapped.

Rules
-----
* Aging is asked chunk by chunk, as the module does. The *locked* way takes the notifiers' old
  calls. The *lockless* way takes ``test_clear_young``: pages in batches by bitmap, longer
  chunks without one; nor has a VM with huge pages one, as its answer is for all pages of a
  leaf at once, where page by page the first one takes the bit from the others.

A step's answer has a bit for each chunk, at its first page.
"""

from __future__ import annotations

from functools import partial

from mkold.kvm.notifier import kvm_test_clear_young_slow
from mkold.kvm.types import Kvm
from mkold.lang import NULL, READ_ONCE, Ptr, kernel, u64
from mkold.mm.mm_types import PTE_ACCESSED, PTE_PRESENT, PTE_SWAP, Mm
from mkold.mm.mmu_notifier import (
    mmu_notifier_clear_flush_young,
    mmu_notifier_clear_young,
    mmu_notifier_test_clear_young,
)
from mkold.mm.pgtable import __ptep_test_and_clear_young, find_host_pte
from mkold.validate.look import in_word
from mkold.validate.pages import bitmap, runs
from mkold.validate.real import Real, bits_of
from mkold.validate.step import Step, chunks
from mkold.validate.system import System
from mkold.validate.topic import Kind, Topic

BATCH = 64
# The module's operations, as mkold_aging.h numbers them.
OPERATIONS = {
    "clear-young": 0,
    "clear-flush-young": 1,
    "test-young": 2,
    "clear-host-young": 4,
}
SEEN = ("young", "host", "present", "swapped")


@kernel
def ask_clear_young(mm: Ptr[Mm], start: u64, end: u64, flush: u64) -> u64:
    """Clear the secondary accessed bits of host pages ``[start, end)`` by the old calls."""
    if flush:
        return mmu_notifier_clear_flush_young(mm, start, end)
    return mmu_notifier_clear_young(mm, start, end)


@kernel
def asktest_young(kvm: Ptr[Kvm], page: u64) -> u64:
    """Whether host page ``page`` is young, by the slow path."""
    return kvm_test_clear_young_slow(kvm, page, page + 1, 0)


@kernel
def ask_range(mm: Ptr[Mm], start: u64, end: u64, clear: u64) -> u64:
    """Whether any of host pages ``[start, end)`` is young, by one call without a bitmap."""
    return mmu_notifier_test_clear_young(mm, start, end, clear, NULL) != 0


@kernel
def ask_each(mm: Ptr[Mm], start: u64, end: u64, clear: u64) -> u64:
    """As ``ask_batch``, by a call for each page without a bitmap."""
    found: u64 = 0
    for page in range(start, end):
        found = (found << 1) | ask_range(mm, page, page + 1, clear)
    return found


@kernel
def ask_batch(mm: Ptr[Mm], start: u64, end: u64, clear: u64, bitmap: Ptr[u64]) -> u64:
    """The age of host pages ``[start, end)``, at most 64, by one test into ``bitmap`` and, to
    clear, one call more; as the bits that the test gave, the last page lowest. Where a bitmap
    is refused, or nothing is young, page by page."""
    bitmap[0] = 0
    if not mmu_notifier_test_clear_young(mm, start, end, 0, bitmap):
        return ask_each(mm, start, end, clear)
    found = READ_ONCE(bitmap[0])
    if clear and found:
        mmu_notifier_test_clear_young(mm, start, end, 1, bitmap)
    return found


@kernel
def ask_host_young(mm: Ptr[Mm], page: u64, clear: u64) -> u64:
    """Whether the process's own entry of ``page`` has the accessed bit; clears it, and no
    other's."""
    ptep = find_host_pte(mm, page)
    if ptep == NULL:
        return 0
    pte = READ_ONCE(ptep.value)
    if not pte & PTE_PRESENT:
        return 0
    if clear:
        return __ptep_test_and_clear_young(ptep)
    return (pte & PTE_ACCESSED) != 0


@kernel
def ask_present(mm: Ptr[Mm], page: u64, word: u64) -> u64:
    """Whether the process's own entry of ``page`` is present."""
    ptep = find_host_pte(mm, page)
    if ptep == NULL:
        return 0
    return (READ_ONCE(ptep.value) & PTE_PRESENT) != 0


@kernel
def ask_swapped(mm: Ptr[Mm], page: u64, word: u64) -> u64:
    """Whether the content of ``page`` is in swap."""
    ptep = find_host_pte(mm, page)
    if ptep == NULL:
        return 0
    pte = READ_ONCE(ptep.value)
    return (pte & PTE_SWAP) != 0 and (pte & PTE_PRESENT) == 0


@kernel
def look_host(mm: Ptr[Mm], start: u64, n: u64, word: u64) -> u64:
    """``ask_host_young`` in a word."""
    return in_word(ask_host_young, mm, start, n, word)


@kernel
def look_present(mm: Ptr[Mm], start: u64, n: u64, word: u64) -> u64:
    """``ask_present`` in a word."""
    return in_word(ask_present, mm, start, n, word)


@kernel
def look_swapped(mm: Ptr[Mm], start: u64, n: u64, word: u64) -> u64:
    """``ask_swapped`` in a word."""
    return in_word(ask_swapped, mm, start, n, word)


def real(real: Real, step: Step) -> int:
    """The answers to all questions of the step, by the module."""
    found = 0
    for first, end in runs(step.pages):
        question = f"age {OPERATIONS[step.name]} {first} {end - first} {step.by}"
        found |= bits_of(real.ask(question)[0]) << first
    return found


def real_look(real: Real) -> dict[str, int]:
    """What of each page is young, present, in swap."""
    return real.bitmaps("look", SEEN)


def system(system: System, step: Step) -> int:
    """The answers to all questions of the step, by the system's way."""
    if step.name == "test-young":
        return system.each(step.pages, partial(test_young, system))
    if step.name == "clear-host-young":
        return system.each(step.pages, partial(_host_young, system, 1))
    flush = step.name == "clear-flush-young"
    if system.way == "locked" or flush:
        return _asked(system, step, "ask_clear_young", int(flush))
    if step.by == 1 and not system.vm.huge:
        return _batched(system, step.pages)
    return _asked(system, step, "ask_range", 1)


def system_look(system: System) -> dict[str, int]:
    """The same of mkold's system."""
    pages = system.vm.all_pages
    return {
        "young": system.each(pages, partial(test_young, system)),
        "host": system.words("look_host"),
        "present": system.words("look_present"),
        "swapped": system.words("look_swapped"),
    }


def _host_young(system: System, clear: int, page: int) -> int:
    return system.call("ask_host_young", system.mm.at, system.hva(page), clear)


def test_young(system: System, page: int) -> int:
    """Whether the guest's table has a page as young, by the system's way."""
    hva = system.hva(page)
    if system.way == "lockless":
        return system.call("ask_range", system.mm.at, hva, hva + 1, 0)
    return system.call("asktest_young", system.kvm, hva)


def _asked(system: System, step: Step, name: str, word: int) -> int:
    return bitmap(
        first
        for first, end in chunks(step)
        if system.call(name, system.mm.at, system.hva(first), system.hva(end), word)
    )


def _batched(system: System, pages: int) -> int:
    """Pages in batches by bitmap; bits come with the last page lowest."""
    found = 0
    for first, end in runs(pages):
        for at in range(first, end, BATCH):
            n = min(BATCH, end - at)
            hva = system.hva(at)
            bits = system.call("ask_batch", system.mm.at, hva, hva + n, 1, system.bitmap)
            found |= int(f"{bits:0{n}b}"[::-1], 2) << at
    return found


AGING = Topic(
    kinds={
        "clear-young": Kind(True, 12, 1.0, ranges=True),
        "clear-flush-young": Kind(True, 8, 1.0, ranges=True),
        "test-young": Kind(True, 4, 1.0),
        "clear-host-young": Kind(True, 8, 1.0),
    },
    real=real,
    system=system,
    entries=(
        ask_clear_young, asktest_young, ask_batch, ask_range, ask_host_young, look_host,
        look_present, look_swapped,
    ),
    real_look=real_look,
    system_look=system_look,
)  # fmt: skip
