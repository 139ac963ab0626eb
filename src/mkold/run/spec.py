"""What to run: the machine, the aging paths, and how long."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from mkold.base.errors import UsageError
from mkold.kvm.architectures import ARCHITECTURES, architecture
from mkold.kvm.machine import Architecture, chosen
from mkold.mm.mm_types import AGING_LOCKED, AGING_LOCKLESS, AGING_NONE
from mkold.run.guest import MAX_VCPUS

PATHS = ("none", "locked", "lockless")
MODES = {"none": AGING_NONE, "locked": AGING_LOCKED, "lockless": AGING_LOCKLESS}
# Below this the LRU has nothing to choose from (batches are 64 pages).
MIN_FRAMES = 64


def default_vcpus() -> int:
    """One less than the cores this process may use, for the host's thread; at most 4."""
    return max(1, min(4, len(os.sched_getaffinity(0)) - 1))


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """The machine. What an empty name stands for is the architecture's to say.

    Parameters
    ----------
    arch : one of ``mkold.kvm.architectures``
    vcpus : threads that replay the trace, 1 to 8
    memory_share : the host's frames as a share of the pages the guest touches; 1 or more
        means that nothing is ever evicted
    interval_s : seconds between two aging passes
    page_size : base page, such as "4k"
    clear : how the lockless pass clears the accessed bit
    mmu : the mode of the VM's MMU
    variant : name of a stated change to the source ("" for none)
    swap_latency_us : what reading a page back from swap costs the vCPU, microseconds
    bloom : whether Bloom filters limit the periodic walks too (those that reclaim asks for
        always heed them)
    """

    arch: str = ""
    vcpus: int = 1
    memory_share: float = 0.7
    interval_s: float = 0.05
    page_size: str = ""
    clear: str = ""
    mmu: str = ""
    variant: str = ""
    swap_latency_us: float = 50.0
    bloom: bool = False

    def check(self) -> MachineSpec:
        """The same machine with every name filled in, if it makes sense.

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
        arch = self.architecture
        if self.variant:
            chosen("variant", arch.variants, self.variant)
        return replace(
            self,
            arch=arch.name,
            page_size=chosen("page size", arch.page_sizes, self.page_size),
            clear=chosen("way to clear", arch.clears, self.clear),
            mmu=chosen("mode", arch.modes, self.mmu),
        )

    @property
    def architecture(self) -> Architecture:
        """What the machine is built of."""
        return architecture(self.arch or next(iter(ARCHITECTURES)))

    @property
    def page_shift(self) -> int:
        """log2 of the bytes of a base page."""
        sizes = self.architecture.page_sizes
        return sizes[chosen("page size", sizes, self.page_size)].shift


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
