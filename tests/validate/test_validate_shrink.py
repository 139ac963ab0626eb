"""Shrinking: what is left still differs, and nothing of it can be left out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mkold.validate.compare import Difference, compared
from mkold.validate.draw import draw
from mkold.validate.pages import bitmap
from mkold.validate.shrink import Shrinker
from mkold.validate.step import Step
from mkold.validate.vm import Vm

N_PAGES = 64


def first(steps: Sequence[Step], needed: list[str]) -> Difference | None:
    """A system that is wrong about page 7 once the steps ``needed``, in order, touched it."""
    left = list(needed)
    for at, step in enumerate(steps):
        if left and step.name == left[0] and step.pages >> 7 & 1:
            left.pop(0)
            if not left:
                return Difference(at, step, "young", 1 << 7, 0)
    return None


@pytest.mark.parametrize(
    "needed",
    [
        ["guest-read"],
        ["guest-read", "dontneed"],
        ["host-write", "clear-young", "guest-write", "clear-young"],
    ],
)
def test_only_what_is_needed_is_left(needed: list[str]) -> None:
    steps = draw(400, Vm(N_PAGES), 5)
    found = first(steps, needed)
    assert found is not None
    shrinker = Shrinker(lambda tried: first(tried, needed))
    left = shrinker.shrink(steps, found)
    assert [step.name for step in shrinker.steps] == needed
    assert all(step.pages == bitmap([7]) for step in shrinker.steps)
    assert left.at == len(needed) - 1


def test_two_pages_that_need_each_other_stay() -> None:
    def differs(steps: Sequence[Step]) -> Difference | None:
        for at, step in enumerate(steps):
            if step.pages & 0b11 == 0b11:
                return Difference(at, step, "young", 1, 0)
        return None

    steps = [Step("guest-read", 0xFFFF), Step("guest-write", 0xFF00)]
    found = differs(steps)
    assert found is not None
    shrinker = Shrinker(differs)
    shrinker.shrink(steps, found)
    assert shrinker.steps == [Step("guest-read", 0b11)]


def test_a_budget_ends_it() -> None:
    tries = 0

    def differs(steps: Sequence[Step]) -> Difference | None:
        nonlocal tries
        tries += 1
        return first(steps, ["guest-read"])

    steps = draw(400, Vm(N_PAGES), 5)
    found = first(steps, ["guest-read"])
    assert found is not None
    Shrinker(differs, budget=3).shrink(steps, found)
    assert tries == 3


def test_comparison_names_step_bitmap_and_pages() -> None:
    steps = draw(3, Vm(N_PAGES), 1)
    real = [{"young": 1, "swapped": 9}, {"young": 2}, {"young": 0b1100}]
    system = [{"young": 1}, {"young": 2}, {"young": 0b0110}]
    result = compared(steps, real, system)
    (difference,) = result.differences
    assert (result.n_steps, result.n_bitmaps) == (3, 3)
    assert (difference.at, difference.what, difference.pages) == (2, "young", 0b1010)
