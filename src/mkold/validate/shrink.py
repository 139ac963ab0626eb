"""The shortest sequence that still differs.

Rules
-----
1. What comes behind the difference goes; then all pages but those that differ.
2. Parts of the sequence are left out, larger ones first, as long as what is left differs
   (delta debugging).
3. Then each step loses pages likewise.

Each try performs the sequence on both sides, from a fresh VM. It ends when nothing more can
be left out, or with ``budget`` tries.

Source: A. Zeller, R. Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE
Transactions on Software Engineering 28 (2002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from mkold.validate.compare import Difference
from mkold.validate.pages import bitmap, pages_of
from mkold.validate.step import Step

Try = Callable[[Sequence[Step]], Difference | None]
Item = TypeVar("Item")


class Shrinker:
    """One sequence, made shorter.

    Parameters
    ----------
    differs : the first difference of a sequence, if there is one
    budget : how many sequences are tried
    """

    def __init__(self, differs: Try, budget: int = 200) -> None:
        self._differs, self._left = differs, budget
        self.steps: list[Step] = []
        self.difference: Difference | None = None

    def shrink(self, steps: Sequence[Step], found: Difference) -> Difference:
        """Make ``steps``, of which ``found`` is the first difference, short: ``self.steps``;
        the difference that is left."""
        self.steps, self.difference = list(steps[: found.at + 1]), found
        self._keep_pages(found.pages)
        self.steps = self._fewer(self.steps, lambda steps: steps)
        for at in range(len(self.steps)):
            self._fewer_pages(at)
        assert self.difference is not None
        return self.difference

    def _holds(self, steps: Sequence[Step]) -> bool:
        """Whether these differ; if so they are what is left now."""
        if self._left <= 0 or not steps:
            return False
        self._left -= 1
        found = self._differs(steps)
        if found is None:
            return False
        self.difference = found
        return True

    def _keep_pages(self, pages: int) -> None:
        """All steps on the pages that differ alone: one of them, or else all."""
        for kept in (pages & -pages, pages):
            tried = [
                replace(step, pages=step.pages & kept)
                for step in self.steps
                if step.pages & kept or not step.pages
            ]
            tried = [replace(step, by=1) if step.pages else step for step in tried]
            if self._holds(tried):
                self.steps = tried
                return

    def _fewer(
        self, items: list[Item], as_steps: Callable[[list[Item]], Sequence[Step]]
    ) -> list[Item]:
        """As few items as still differ."""
        size = len(items) // 2
        while size >= 1:
            at = 0
            while at < len(items):
                tried = items[:at] + items[at + size :]
                if tried and self._holds(as_steps(tried)):
                    items = tried
                else:
                    at += size
            size //= 2
        return items

    def _fewer_pages(self, at: int) -> None:
        step = self.steps[at]
        if step.by != 1 or not step.pages:
            return

        def with_pages(pages: list[int]) -> list[Step]:
            smaller = replace(step, pages=bitmap(pages))
            return [*self.steps[:at], smaller, *self.steps[at + 1 :]]

        self.steps = with_pages(self._fewer(list(pages_of(step.pages)), with_pages))
