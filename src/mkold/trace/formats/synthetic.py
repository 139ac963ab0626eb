"""Traces drawn from distributions: for inputs that say how much of what was used, not when.

A scene says how often each page of some stretches was used while it lasted. From every scene
as many accesses are drawn as its share of all uses, each page as likely as it was used, one
independent of the other: order within a scene, and so locality, is not in such an input. The
same seed draws the same trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkold.base.errors import InputError
from mkold.trace.accesses import Accesses
from mkold.trace.schema import PAGE_SHIFT, U64

MOST_ACCESSES = 1 << 20
BATCH = 1 << 18
_VPNS = 1 << (64 - PAGE_SHIFT)


@dataclass(frozen=True, slots=True)
class Scene:
    """Stretches of pages, and how often each page of a stretch was used."""

    vpn: U64
    n_pages: U64
    uses: NDArray[np.float64]

    @classmethod
    def of(cls, stretches: Sequence[tuple[int, int, float]]) -> Scene:
        """From ``(vpn, n_pages, uses)``; those without pages or uses are left out.

        Raises
        ------
        InputError : a stretch ends above what 64 bits address
        """
        kept = [each for each in stretches if each[1] > 0 and each[2] > 0]
        if any(vpn < 0 or vpn + n_pages > _VPNS for vpn, n_pages, _ in kept):
            raise InputError("a region does not end below 2**64")
        vpn, n_pages, uses = zip(*kept, strict=True) if kept else ((), (), ())
        return cls(
            np.array(vpn, np.uint64), np.array(n_pages, np.uint64), np.array(uses, np.float64)
        )

    @property
    def total(self) -> float:
        """Uses of all pages together."""
        return float((self.n_pages.astype(np.float64) * self.uses).sum())


def n_drawn(scenes: Sequence[Scene]) -> int:
    """How many accesses are drawn: as many as there were uses, but not too many."""
    return int(min(MOST_ACCESSES, np.ceil(sum(scene.total for scene in scenes))))


def draw(scenes: Sequence[Scene], seed: int) -> Iterator[Accesses]:
    """Accesses of the scenes, in their order; all are reads."""
    scenes = [scene for scene in scenes if len(scene.vpn)]
    if not scenes:
        return
    chooser = np.random.default_rng(abs(seed))
    vpn = np.concatenate([scene.vpn for scene in scenes])
    n_pages = np.concatenate([scene.n_pages for scene in scenes])
    uses = np.concatenate([scene.uses for scene in scenes])
    ends = np.cumsum(n_pages.astype(np.float64) * uses)  # of the stretches, all in a row
    if not 0 < ends[-1] < np.inf:
        return  # no use of any page, or more than there are numbers for
    last = np.cumsum([len(scene.vpn) for scene in scenes]) - 1
    n = n_drawn(scenes)
    until = np.rint(n * (ends[last] / ends[-1])).astype(np.intp)  # drawn by a scene's end
    for start in range(0, n, BATCH):
        size = min(BATCH, n - start)
        scene = np.searchsorted(until, np.arange(start, start + size), side="right")
        first = np.where(scene > 0, last[scene - 1] + 1, 0)
        low = np.where(first > 0, ends[first - 1], 0.0)
        point = low + chooser.random(size) * (ends[last[scene]] - low)
        which = np.clip(np.searchsorted(ends, point, side="right"), first, last[scene])
        inside = (chooser.random(size) * n_pages[which]).astype(np.uint64)
        found = vpn[which] + np.minimum(inside, n_pages[which] - np.uint64(1))
        yield Accesses(found, np.zeros(size, np.uint8))
