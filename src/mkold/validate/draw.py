"""A sequence of steps, drawn from a seed or read from text.

A step is a line of text: its name, then pages, then for aging by ranges ``by K``. What a name
means stands in ``topics``.
"""

from __future__ import annotations

import random
from dataclasses import replace

from mkold.base.errors import InputError
from mkold.validate.pages import bitmap, read_pages
from mkold.validate.step import Step, is_run
from mkold.validate.topic import Kind
from mkold.validate.topics import KINDS, topic_of
from mkold.validate.vm import Vm, gone_after

MANY = 64  # pages of a range, at most
LOOPS = ("loop-read", "loop-write", "halt")
FEW = 24  # that a step touches where an area is mapped whole by touching one


def read_step(text: str) -> Step:
    """A step's line.

    Raises
    ------
    InputError : it is none; says why
    """
    words = text.split()
    if len(words) not in (1, 2, 3, 4) or words[0] not in KINDS:
        known = ", ".join(KINDS)
        raise InputError(f"no step: a name, pages, perhaps 'by K'; names are {known}")
    by = 1
    counts = KINDS[words[0]].counts
    if len(words) == (2 if counts else 3):
        raise InputError("'by K' stands behind pages, or for pages where a step counts them")
    if len(words) >= 3:
        if words[-2] != "by" or not words[-1].isdecimal() or not int(words[-1]):
            raise InputError("a range is asked 'by K' pages, K a whole number from 1 on")
        by = int(words[-1])
    pages = read_pages(words[1]) if len(words) in (2, 4) else 0
    if by > 1 and not counts and not (KINDS[words[0]].ranges and is_run(pages)):
        raise InputError("'by K' is for aging one run of pages")
    return Step(words[0], pages, by)


def draw_vm(
    n_pages: int, seed: int, guest: str = "", log: str = "", *, huge: bool = False,
    damon: bool = False, running: bool = False, holes: bool = True,
) -> Vm:  # fmt: skip
    """A VM whose guest has all pages, or up to four runs of them with ``holes`` between.
    ``log`` is what log its host has; every other VM uses it, and all with huge pages.
    ``damon``: whether its host has that; not used where a vCPU runs on."""
    damon = damon and not running
    if not huge and random.Random(f"log {seed}").random() < 0.5:
        log = ""
    chance = random.Random(f"slots {seed}")
    n = chance.randint(1, 4)
    if n == 1 or n_pages < 8 * n or not holes:
        return Vm(n_pages, 0, guest, log, huge, damon, running)
    ends = sorted(chance.sample(range(n_pages), 2 * n))
    slots = sum(((1 << (b - a)) - 1) << a for a, b in zip(ends[::2], ends[1::2], strict=True))
    return Vm(n_pages, slots, guest, log, huge, damon, running)


def draw(n_steps: int, vm: Vm, seed: int, names: tuple[str, ...] = ()) -> list[Step]:
    """A sequence, the same for a seed; of the steps ``names``, or of all that the VM can have.
    The guest touches pages of its memslots only."""
    chance = random.Random(seed)
    kinds = {
        name: kind
        for name, kind in KINDS.items()
        if (not names or name in names)
        and topic_of(name, vm)
        # eviction knows no large folio, and its order is not that of two processors
        and not ((vm.huge or vm.running) and kind.counts)
    }
    weights = [kind.weight for kind in kinds.values()]
    drawn = chance.choices(list(kinds), weights, k=n_steps)
    steps = [_step(chance, name, kinds[name], vm) for name in drawn]
    if vm.running:
        steps = _in_loops(steps)
    return _in_slots(steps, vm) if vm.slots else steps


def _in_slots(steps: list[Step], vm: Vm) -> list[Step]:
    """The guest touches pages of memslots that there are."""
    kept, gone = [], vm.all_pages & ~vm.slots
    for step in steps:
        gone = gone_after(gone, step, vm)
        pages = step.pages & ~gone if KINDS[step.name].guest else step.pages
        if pages or not step.pages:
            kept.append(replace(step, pages=pages))
    return kept


def _in_loops(steps: list[Step]) -> list[Step]:
    """While the guest is in a loop, not its short steps, which would end it; nor are pages of
    the loop sent to swap: which of the two has a page first is for nobody to say."""
    kept, loop = [], 0
    for step in steps:
        pages = step.pages
        if step.name in LOOPS:
            loop = pages
        elif loop and step.name.startswith("guest-"):
            continue
        elif step.name == "pageout":
            pages &= ~loop
        if pages or not step.pages:
            kept.append(replace(step, pages=pages))
    return kept


def _step(chance: random.Random, name: str, kind: Kind, vm: Vm) -> Step:
    n_pages = vm.n_pages
    if kind.drawn:
        return Step(name, kind.drawn(chance, vm))
    if kind.ranges and chance.random() < 0.3:
        by = chance.choice((2, 3, 4, 8, 16, 64, *((511, 512, 513) if vm.huge else ())))
        first = chance.randrange(n_pages)
        n = min(chance.randint(1, MANY) * by, n_pages - first)
        return Step(name, ((1 << n) - 1) << first, by)
    if not kind.most:
        return Step(name, 0, chance.randint(1, MANY) if kind.counts else 1)
    if kind.answers and chance.random() < 0.7:
        return Step(name, (1 << n_pages) - 1)
    most = max(1, int(n_pages * kind.most))
    if vm.huge and not kind.slots:
        most = min(most, FEW)
    return Step(name, _some(chance, n_pages, chance.randint(1, most)))


def _some(chance: random.Random, n_pages: int, n: int) -> int:
    """``n`` pages: scattered, or a run, as programs have both."""
    if chance.random() < 0.3:
        first = chance.randrange(n_pages)
        return ((1 << min(n, n_pages - first)) - 1) << first
    return bitmap(chance.sample(range(n_pages), n))
