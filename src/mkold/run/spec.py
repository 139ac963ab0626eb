"""What to run: the machine, the aging paths, and how long."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mkold.base.errors import UsageError
from mkold.mm.mm_types import AGING_LOCKED, AGING_LOCKLESS, AGING_NONE

PATHS = ("none", "locked", "lockless")
MODES = {"none": AGING_NONE, "locked": AGING_LOCKED, "lockless": AGING_LOCKLESS}
PAGE_SIZES = {"4k": 12, "64k": 16}
CLEAR_WAYS = ("pte_xchg", "radix_update_pte")
MAX_VCPUS = 8
# Below this the LRU has nothing to choose from (batches are 64 pages).
MIN_FRAMES = 64


def default_vcpus() -> int:
    """One less than the cores this process may use, for the host's thread; at most 4."""
    return max(1, min(4, len(os.sched_getaffinity(0)) - 1))


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """The machine.

    Parameters
    ----------
    vcpus : threads that replay the trace, 1 to 8
    memory_share : the host's frames as a share of the pages the guest touches; 1 or more
        means that nothing is ever evicted
    interval_s : seconds between two aging passes
    page_size : "4k" or "64k"
    clear : how the lockless pass clears the accessed bit: "pte_xchg" (a compare and swap)
        or "radix_update_pte" (an atomic clear)
    variant : name of a stated change to the source ("" for none), see ``mkold.kvm.variants``
    swap_latency_us : what reading a page back from swap costs the vCPU, microseconds
    bloom : whether Bloom filters limit the periodic walks too (those that reclaim asks for
        always heed them)
    """

    vcpus: int = 1
    memory_share: float = 0.7
    interval_s: float = 0.05
    page_size: str = "4k"
    clear: str = "pte_xchg"
    variant: str = ""
    swap_latency_us: float = 50.0
    bloom: bool = False

    def check(self) -> MachineSpec:
        """Return self if it makes sense.

        Raises
        ------
        UsageError : naming the value that does not
        """
        if not 1 <= self.vcpus <= MAX_VCPUS:
            raise UsageError(f"{self.vcpus} vCPUs: 1 to {MAX_VCPUS} are supported")
        if not 0.01 <= self.memory_share <= 4:
            raise UsageError(f"a memory share of {self.memory_share:g}: 0.01 to 4 make sense")
        if not 0 < self.interval_s <= 3600:
            raise UsageError(f"an aging interval of {self.interval_s:g} s makes no sense")
        if not 0 <= self.swap_latency_us <= 1e6:
            raise UsageError(f"a swap latency of {self.swap_latency_us:g} us makes no sense")
        if self.page_size not in PAGE_SIZES:
            raise UsageError(f"page size {self.page_size}: 4k or 64k")
        if self.clear not in CLEAR_WAYS:
            raise UsageError(f"clear {self.clear}: {' or '.join(CLEAR_WAYS)}")
        return self


@dataclass(frozen=True, slots=True)
class RunSpec:
    """How to measure.

    Parameters
    ----------
    paths : aging paths, each one of ``PATHS``
    rounds : how often each path runs, the paths taking turns; results are medians
    duration_s : measured seconds in each round, after the warm-up
    warmup_s : seconds replayed before measuring starts
    seed : chooses where in the trace the vCPUs start and the order of paths in a round
    """

    paths: tuple[str, ...] = PATHS
    rounds: int = 3
    duration_s: float = 2.0
    warmup_s: float = 0.5
    seed: int = 1

    def check(self) -> RunSpec:
        """Return self if it makes sense.

        Raises
        ------
        UsageError : naming the value that does not
        """
        unknown = [path for path in self.paths if path not in PATHS]
        if unknown or not self.paths or len(set(self.paths)) != len(self.paths):
            raise UsageError(f"paths {','.join(self.paths)}: a choice of {', '.join(PATHS)}")
        if not 1 <= self.rounds <= 1000:
            raise UsageError(f"{self.rounds} rounds: 1 to 1000 make sense")
        if not 0.01 <= self.duration_s <= 86400 or not 0 <= self.warmup_s <= 86400:
            raise UsageError(f"a duration of {self.duration_s:g} s makes no sense")
        return self
