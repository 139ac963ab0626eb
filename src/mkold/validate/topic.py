"""A topic: kinds of steps, how a real kernel and mkold's system do them, and what is seen."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mkold.ir.definition import Definition
from mkold.validate.real import Real
from mkold.validate.step import Step
from mkold.validate.system import System
from mkold.validate.vm import Vm


@dataclass(frozen=True, slots=True)
class Kind:
    """What a step is: whether it answers with a bitmap, and how often it is drawn.

    Parameters
    ----------
    answers : whether it answers
    weight : how often it is drawn, among all
    most : largest share of the pages that is drawn; 0: it is about no pages
    ranges : whether it may ask by ranges
    guest : whether the guest does it, which has the pages of its memslots only
    counts : whether it is about so many pages, whichever they are
    slots : whether it is about memslots, and touches no page
    drawn : how its pages are drawn; None: any, up to ``most``
    """

    answers: bool
    weight: int
    most: float = 0.5
    ranges: bool = False
    guest: bool = False
    counts: bool = False
    slots: bool = False
    drawn: Callable[[random.Random, Vm], int] | None = None


def always(vm: Vm) -> bool:
    """Any VM will do."""
    del vm
    return True


@dataclass(frozen=True, slots=True)
class Topic:
    """Steps that belong together.

    Parameters
    ----------
    kinds : by name
    real, system : do a step of these; its answer, if it has one
    entries : functions that ``system`` calls
    real_look, system_look : bitmaps of what can be seen without changing it
    parameters : of the build of a system that can do them
    fits : whether a VM can have these steps; elsewhere they are not drawn and nothing is seen
    real_after : what is waited for behind any step, before it is looked
    before, after : what mkold's system does around any step, its answer and what the real
        kernel was seen to do being known: of what hardware may choose, it chooses the same
    """

    kinds: Mapping[str, Kind]
    real: Callable[[Real, Step], int | None]
    system: Callable[[System, Step], int | None]
    entries: tuple[Definition, ...] = ()
    real_look: Callable[[Real], dict[str, int]] | None = None
    system_look: Callable[[System], dict[str, int]] | None = None
    parameters: Mapping[str, int] = field(default_factory=dict)
    fits: Callable[[Vm], bool] = always
    real_after: Callable[[Real], None] | None = None
    before: Callable[[System, Step, Mapping[str, int]], None] | None = None
    after: Callable[[System, Step, int | None, Mapping[str, int]], None] | None = None
