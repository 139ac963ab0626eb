"""What one tick of the cycle counter is worth."""

from __future__ import annotations

import time

from mkold.lang import get_cycles, kernel, u64
from mkold.native import Image, Memory

CALIBRATE_S = 0.02


@kernel
def read_cycles() -> u64:
    """The cycle counter, for comparison with the clock."""
    return get_cycles()


def cycles_per_second(image: Image, memory: Memory) -> float:
    """Ticks of the counter in a second, from a short wait."""

    def both() -> tuple[int, int]:
        ticks = image.call("read_cycles", memory, 0)
        assert isinstance(ticks, int)
        return ticks, time.perf_counter_ns()

    first_ticks, first_ns = both()
    time.sleep(CALIBRATE_S)
    last_ticks, last_ns = both()
    return (last_ticks - first_ticks) / (last_ns - first_ns) * 1e9
