"""A sequence on a real kernel and on mkold's system, answer by answer, bitmap by bitmap.

After each step both are looked at too: which pages are young, which of the process's own
entries are, which are present. So a difference shows at the step that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mkold.validate.step import Step

Answers = dict[str, int]
ANSWER = "answer"


class Side(Protocol):
    """Who performs steps."""

    def perform(self, step: Step) -> int | None:
        """Do it; its answer, if it has one."""

    def look(self) -> Mapping[str, int]:
        """The state that can be seen without changing it: a bitmap for each kind."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One bitmap that is not the same.

    Parameters
    ----------
    at : number of the step, from 0
    step : the step
    what : which bitmap
    real, system : both
    """

    at: int
    step: Step
    what: str
    real: int
    system: int

    @property
    def pages(self) -> int:
        """Bitmap of the pages in which they differ."""
        return self.real ^ self.system


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared: bitmaps in all, and those that differ (the first of each step)."""

    n_steps: int
    n_bitmaps: int
    differences: tuple[Difference, ...]


def answers_of(side: Side, step: Step) -> Answers:
    """All bitmaps that a side gives for a step."""
    answer = side.perform(step)
    found = {} if answer is None else {ANSWER: answer}
    return {**found, **side.look()}


def perform_all(
    side: Side, steps: Iterable[Step], progress: Callable[[int], None] = lambda done: None
) -> Iterator[Answers]:
    """The bitmaps for each step, as they come."""
    for done, step in enumerate(steps):
        progress(done)
        yield answers_of(side, step)


def compared(
    steps: Sequence[Step], real: Iterable[Answers], system: Iterable[Answers], *,
    first_only: bool = True,
) -> Comparison:  # fmt: skip
    """Both, step by step; it ends at the first difference, unless all are asked for."""
    n_bitmaps, found, done = 0, [], 0
    for at, (step, ours, theirs) in enumerate(zip(steps, system, real, strict=False)):
        done = at + 1
        kinds = [kind for kind in theirs if kind in ours]
        n_bitmaps += len(kinds)
        wrong = [kind for kind in kinds if theirs[kind] != ours[kind]]
        if wrong:
            kind = wrong[0]
            found.append(Difference(at, step, kind, theirs[kind], ours[kind]))
            if first_only:
                break
    return Comparison(done, n_bitmaps, tuple(found))
