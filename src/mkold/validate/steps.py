"""What can be done to a guest and its host, and a sequence of it drawn from a seed.

A step is a line of text: its name, then pages, then for aging by ranges ``by K``. A row of
``KINDS`` says what a name means; the host whose kernel is asked and mkold's system both
perform them by these names.

==========================  ================================================================
``guest-read``, ``-write``  the guest enters, touches the pages in order, and leaves
``host-read``, ``-write``   the process (the VMM) touches its own memory
``clear-young``             ``mmu_notifier_clear_young`` for each page, or each ``K`` pages
``clear-flush-young``       ``mmu_notifier_clear_flush_young`` likewise
``test-young``              ``mmu_notifier_test_young`` for each page
``clear-host-young``        the process's own accessed bits, tested and cleared; and flushed
``dontneed``, ``pageout``   ``madvise(MADV_DONTNEED)``, ``MADV_PAGEOUT`` to swap
``aging-pass``              a pass of the multi-generational LRU, walking all; and flushed
==========================  ================================================================
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mkold.base.errors import InputError
from mkold.validate.pages import bitmap, pages_of, pages_text, read_pages


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Parameters
    ----------
    name : a row of ``KINDS``
    pages : bitmap of the pages it is about; where it asks by ranges, one run of them
    by : pages that one question covers
    """

    name: str
    pages: int
    by: int = 1

    def __str__(self) -> str:
        text = f"{self.name} {pages_text(self.pages)}".rstrip()
        return text + (f" by {self.by}" if self.by != 1 else "")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a step is: whether it answers with a bitmap, and how often it is drawn.

    ``most`` is the largest share of the pages that is drawn.
    """

    answers: bool
    weight: int
    most: float = 0.5
    ranges: bool = False


KINDS: Mapping[str, Kind] = {
    "guest-read": Kind(False, 20),
    "guest-write": Kind(False, 16),
    "host-read": Kind(False, 6),
    "host-write": Kind(False, 8),
    "clear-young": Kind(True, 12, 1.0, ranges=True),
    "clear-flush-young": Kind(True, 8, 1.0, ranges=True),
    "test-young": Kind(True, 4, 1.0),
    "clear-host-young": Kind(True, 8, 1.0),
    "dontneed": Kind(False, 6, 0.15),
    "pageout": Kind(False, 6, 0.2),
    "aging-pass": Kind(False, 6, 0.0),
}
MANY = 64  # pages of a range, at most


def read_step(text: str) -> Step:
    """A step's line.

    Raises
    ------
    InputError : it is none; says why
    """
    words = text.split()
    if len(words) not in (1, 2, 4) or words[0] not in KINDS:
        known = ", ".join(KINDS)
        raise InputError(f"no step: a name, pages, perhaps 'by K'; names are {known}")
    by = 1
    if len(words) == 4:
        if words[2] != "by" or not words[3].isdecimal() or not int(words[3]):
            raise InputError("a range is asked 'by K' pages, K a whole number from 1 on")
        by = int(words[3])
    pages = read_pages(words[1]) if len(words) > 1 else 0
    if by > 1 and not (KINDS[words[0]].ranges and is_run(pages)):
        raise InputError("'by K' is for aging one run of pages")
    return Step(words[0], pages, by)


def is_run(pages: int) -> bool:
    """Whether the pages are one behind the other."""
    low = pages & -pages
    return pages != 0 and (pages + low) & pages == 0


def draw_slots(n_pages: int, seed: int) -> int:
    """Pages that a guest has: all (0), or up to four runs of them with holes between."""
    chance = random.Random(f"slots {seed}")
    n = chance.randint(1, 4)
    if n == 1 or n_pages < 8 * n:
        return 0
    ends = sorted(chance.sample(range(n_pages), 2 * n))
    return sum(((1 << (b - a)) - 1) << a for a, b in zip(ends[::2], ends[1::2], strict=True))


def draw(
    n_steps: int, n_pages: int, seed: int, names: tuple[str, ...] = (), slots: int = 0
) -> list[Step]:
    """A sequence, the same for a seed; of the steps ``names``, or of all. The guest touches
    pages of ``slots`` only (0: any)."""
    chance = random.Random(seed)
    kinds = {name: KINDS[name] for name in names} if names else dict(KINDS)
    weights = [kind.weight for kind in kinds.values()]
    drawn = chance.choices(list(kinds), weights, k=n_steps)
    steps = [_step(chance, name, kinds[name], n_pages) for name in drawn]
    if not slots:
        return steps
    guests = [step.name.startswith("guest-") for step in steps]
    return [
        replace(step, pages=step.pages & slots) if guest else step
        for step, guest in zip(steps, guests, strict=True)
        if not guest or step.pages & slots
    ]


def _step(chance: random.Random, name: str, kind: Kind, n_pages: int) -> Step:
    if kind.ranges and chance.random() < 0.3:
        by = chance.choice((2, 3, 4, 8, 16, 64))
        first = chance.randrange(n_pages)
        n = min(chance.randint(1, MANY) * by, n_pages - first)
        return Step(name, ((1 << n) - 1) << first, by)
    if not kind.most:
        return Step(name, 0)
    if kind.answers and chance.random() < 0.7:
        return Step(name, (1 << n_pages) - 1)
    most = max(1, int(n_pages * kind.most))
    return Step(name, _some(chance, n_pages, chance.randint(1, most)))


def _some(chance: random.Random, n_pages: int, n: int) -> int:
    """``n`` pages: scattered, or a run, as programs have both."""
    if chance.random() < 0.3:
        first = chance.randrange(n_pages)
        return ((1 << min(n, n_pages - first)) - 1) << first
    return bitmap(chance.sample(range(n_pages), n))


def chunks(step: Step) -> list[tuple[int, int]]:
    """What a step of aging asks, in order: first page, and the one behind the last."""
    pages = list(pages_of(step.pages))
    if step.by == 1:
        return [(page, page + 1) for page in pages]
    end = pages[-1] + 1
    return [(at, min(at + step.by, end)) for at in range(pages[0], end, step.by)]


Performer = Callable[[Step], int | None]
