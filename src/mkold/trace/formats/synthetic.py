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
    chooser = np.random.default_rng(abs(seed))
    n, total = n_drawn(scenes), sum(scene.total for scene in scenes)
    uses, drawn = 0.0, 0
    for scene in scenes:
        uses += scene.total
        until = round(n * uses / total) if total else 0
        for start in range(drawn, until, BATCH):
            yield _some(scene, min(BATCH, until - start), chooser)
        drawn = until


def _some(scene: Scene, n: int, chooser: np.random.Generator) -> Accesses:
    ends = np.cumsum(scene.n_pages.astype(np.float64) * scene.uses)
    which = np.searchsorted(ends, chooser.random(n) * ends[-1], side="right")
    which = np.minimum(which, len(ends) - 1)
    inside = (chooser.random(n) * scene.n_pages[which]).astype(np.uint64)
    vpn = scene.vpn[which] + np.minimum(inside, scene.n_pages[which] - np.uint64(1))
    return Accesses(vpn, np.zeros(n, np.uint8))
