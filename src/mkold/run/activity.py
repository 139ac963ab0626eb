"""What a guest's program touches, when and where: a heat map and its working set.

Both are of the program alone, before any aging sees it. Time is counted in accesses, of all
vCPUs' parts one after another.

Source: ``damo report heats`` and ``damo report wss`` show the same of a live system.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkold.run.guest import ROW_PAGE_SHIFT, ROW_RUN_MASK
from mkold.run.program import Program

WINDOWS = 120
PAGE_BINS = 64
PERCENTILES = (0, 25, 50, 75, 100)


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """Parameters
    ----------
    heat : accesses by page bin (low addresses first) and by window of time
    working_set : distinct pages touched in each window
    """

    heat: NDArray[np.float64]
    working_set: NDArray[np.int64]

    def percentiles(self) -> dict[int, int]:
        """Sizes of the working set in pages: least, quartiles, most."""
        sizes = np.percentile(self.working_set, PERCENTILES, method="nearest")
        return {p: int(size) for p, size in zip(PERCENTILES, sizes, strict=True)}

    def in_words(self) -> str:
        """The percentiles, as ``0 %: 73, 25 %: 282, ...``."""
        return ", ".join(f"{p} %: {size:,}" for p, size in self.percentiles().items())


def activity(program: Program) -> Activity:
    """The heat map and working set of ``program``; a row lies where it begins."""
    rows = program.rows
    run = ((rows >> np.uint64(1)) & np.uint64(ROW_RUN_MASK)).astype(np.float64)
    page = (rows >> np.uint64(ROW_PAGE_SHIFT)).astype(np.int64)
    began = np.cumsum(run) - run
    window = (began * (WINDOWS / max(run.sum(), 1))).astype(np.int64)
    window = np.minimum(window, WINDOWS - 1, out=window)
    bins = min(PAGE_BINS, program.n_pages)
    place = page * bins // program.n_pages
    heat = np.bincount(place * WINDOWS + window, weights=run, minlength=bins * WINDOWS)
    return Activity(
        heat.astype(np.float64).reshape(bins, WINDOWS), _distinct(window, page, program.n_pages)
    )


def _distinct(
    window: NDArray[np.int64], page: NDArray[np.int64], n_pages: int
) -> NDArray[np.int64]:
    """Distinct pages in each window, a window at a time: windows are in order."""
    ends = np.searchsorted(window, np.arange(WINDOWS + 1))
    seen = np.zeros(n_pages, bool)
    sizes = np.zeros(WINDOWS, np.int64)
    for i in range(WINDOWS):
        touched = page[ends[i] : ends[i + 1]]
        seen[touched] = True
        sizes[i] = np.count_nonzero(seen)
        seen[touched] = False
    return sizes
