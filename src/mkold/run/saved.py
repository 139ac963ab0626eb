"""The least memory with which a path keeps its guest nearly as fast as all of it would.

What too little memory costs a vCPU is counted as it happens: waiting for swap, reclaiming by
itself. So one measurement with a share of memory tells its slowdown, the time lost over the
time that was the guest's own, whatever else the host does. Shares are halved in.

Known limits: a guest whose slowdown does not grow steadily as its memory shrinks has no one
such share; the answer is as coarse as the last step (3 % of the pages).
"""

from __future__ import annotations

from collections.abc import Callable

from mkold.run.spec import MIN_FRAMES

SLOWDOWN = 0.05
LOWEST = 0.1
STEPS = 5

Slowdown = Callable[[float], float]


def can_tell(n_pages: int) -> bool:
    """Whether shares of so few pages differ at all: the host has at least MIN_FRAMES frames."""
    return n_pages * LOWEST >= MIN_FRAMES


def least_share(slowdown: Slowdown) -> float:
    """The smallest share of memory at which the guest loses at most ``SLOWDOWN``.

    Parameters
    ----------
    slowdown : measures the time lost over the guest's own with a share of memory
    """
    low, high = LOWEST, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if slowdown(middle) <= SLOWDOWN:
            high = middle
        else:
            low = middle
    return high
