"""Huge pages: steps that make and unmake them, and which pages the process maps by a PMD.

Only of a VM with huge pages (``huge`` in a script's head): all of its memory is
``MADV_HUGEPAGE``, so that the first fault in an area of 2 MiB maps all of it.

Rules
-----
* ``drop`` and ``collapse`` are one call of ``madvise`` for each run of pages: unlike
  ``dontneed``, which goes page by page, ``drop`` of an area takes its huge entry whole.
* ``MADV_COLLAPSE`` may be refused; what it did is seen after it.
* ``protect`` forbids writing to each run, and allows it again.
"""

from __future__ import annotations

import random

from mkold.lang import READ_ONCE, Ptr, kernel, u64
from mkold.mm.fault.collapse import madvise_collapse
from mkold.mm.fault.madvise import madvise_dontneed
from mkold.mm.fault.mprotect import mprotect_read, mprotect_write
from mkold.mm.mm_types import Mm
from mkold.mm.pgtable import pmd_offset, pmd_trans_huge
from mkold.validate.look import in_word
from mkold.validate.pages import pages_text, runs
from mkold.validate.real import Real
from mkold.validate.step import Step
from mkold.validate.system import System
from mkold.validate.topic import Kind, Topic
from mkold.validate.vm import Vm

AREA = 512  # pages that are drawn together: a PMD's of 4 KiB
CALLS = {
    "drop": ("madvise_dontneed",),
    "collapse": ("madvise_collapse",),
    "protect": ("mprotect_read", "mprotect_write"),
}


@kernel
def ask_huge(mm: Ptr[Mm], page: u64, word: u64) -> u64:
    """Whether a huge entry maps ``page``."""
    return pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)) != 0


@kernel
def look_huge(mm: Ptr[Mm], start: u64, n: u64, word: u64) -> u64:
    """``ask_huge`` in a word."""
    return in_word(ask_huge, mm, start, n, word)


def real(real: Real, step: Step) -> None:
    """``huge collapse 0-511``."""
    real.ask(f"huge {step.name} {pages_text(step.pages)}")


def system(system: System, step: Step) -> None:
    """Run by run."""
    for first, end in runs(step.pages):
        for name in CALLS[step.name]:
            system.call(name, system.mm.at, system.hva(first), system.hva(end))


def real_look(real: Real) -> dict[str, int]:
    """Which pages the process maps by a PMD."""
    return real.bitmaps("huge-look", ("huge",))


def system_look(system: System) -> dict[str, int]:
    """The same."""
    return {"huge": system.words("look_huge")}


def fits(vm: Vm) -> bool:
    """Whether it has huge pages."""
    return vm.huge


def areas(chance: random.Random, vm: Vm) -> int:
    """A run of pages: whole areas, or one that begins or ends inside of one."""
    n = max(1, vm.n_pages // AREA)
    first = chance.randrange(n)
    start, end = first * AREA, (first + chance.randint(1, 2)) * AREA
    if chance.random() < 0.3:
        start += chance.randint(-1, 1)
        end += chance.randint(-1, 1)
    return ((1 << end) - 1) & ~((1 << max(start, 0)) - 1) & vm.all_pages


HUGE = Topic(
    kinds={
        "drop": Kind(False, 8, drawn=areas),
        "collapse": Kind(False, 8, drawn=areas),
        "protect": Kind(False, 4, 0.1),
    },
    real=real,
    system=system,
    entries=(look_huge, madvise_dontneed, madvise_collapse, mprotect_read, mprotect_write),
    real_look=real_look,
    system_look=system_look,
    parameters={"TRANSPARENT_HUGEPAGE": 1},
    fits=fits,
)
