"""A step: its name, the pages that it is about, and how it asks."""

from __future__ import annotations

from dataclasses import dataclass

from mkold.validate.pages import pages_of, pages_text


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Parameters
    ----------
    name : as a topic names it
    pages : bitmap of the pages it is about; where it asks by ranges, one run of them
    by : pages that one question covers
    """

    name: str
    pages: int
    by: int = 1

    def __str__(self) -> str:
        text = f"{self.name} {pages_text(self.pages)}".rstrip()
        return text + (f" by {self.by}" if self.by != 1 else "")


def is_run(pages: int) -> bool:
    """Whether the pages are one behind the other."""
    low = pages & -pages
    return pages != 0 and (pages + low) & pages == 0


def chunks(step: Step) -> list[tuple[int, int]]:
    """What a step of aging asks, in order: first page, and the one behind the last."""
    pages = list(pages_of(step.pages))
    if step.by == 1:
        return [(page, page + 1) for page in pages]
    end = pages[-1] + 1
    return [(at, min(at + step.by, end)) for at in range(pages[0], end, step.by)]
