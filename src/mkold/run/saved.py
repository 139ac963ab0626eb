"""Memory saved at equal slowdown: the least memory with which a path keeps its guest nearly as
fast as all of it would.

Shares are halved in, from all memory down; each is measured against all memory on the same
path, in turns, with equal work. Known limits: a guest whose speed does not fall steadily with
its memory has no one such share; the answer is as coarse as ``STEP`` and as noisy as the host.
"""

from __future__ import annotations

from collections.abc import Callable

SLOWDOWN = 0.05
LOWEST = 0.1
STEPS = 5
TURNS = 2
# Measurements of one path: all memory and the share, in turns, at each step.
MEASUREMENTS = 2 * TURNS * STEPS

Seconds = Callable[[float], float]


def smallest_share(seconds: Seconds) -> float:
    """The smallest share of memory at which the work takes at most ``SLOWDOWN`` longer.

    Parameters
    ----------
    seconds : measures how long the work takes with a share of memory, 1 being all of it
    """
    low, high = LOWEST, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        with_all = with_less = 0.0
        for _turn in range(TURNS):
            with_all += seconds(1.0)
            with_less += seconds(middle)
        if with_less <= with_all * (1 + SLOWDOWN):
            high = middle
        else:
            low = middle
    return high
