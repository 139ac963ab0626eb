"""What to run: the machine, the aging paths, and how long."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from mkold.base.errors import UsageError
from mkold.kvm.architectures import ARCHITECTURES, architecture
from mkold.kvm.machine import Architecture, Nesting, chosen
from mkold.kvm.types import KVM_MAX_VCPUS
from mkold.mm.mm_types import AGING_LOCKED, AGING_LOCKLESS, AGING_NONE
from mkold.mm.versions import USUAL, VERSIONS

PATHS = ("none", "locked", "lockless")
MODES = {"none": AGING_NONE, "locked": AGING_LOCKED, "lockless": AGING_LOCKLESS}
# Below this the LRU has nothing to choose from (batches are 64 pages).
MIN_FRAMES = 64
MAX_PATHS = 16
MAX_WARMUP_S = 1.0


def default_vcpus() -> int:
    """One less than the cores this process may use, for the host's thread; at most 4."""
    return max(1, min(4, len(os.sched_getaffinity(0)) - 1))


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """The machine. What an empty name stands for is the architecture's to say.

    Parameters
    ----------
    arch : one of ``mkold.kvm.architectures``
    vcpus : threads that replay the trace, 1 to 62
    memory_share : the host's frames as a share of the pages the guest touches; 1 or more
        means that nothing is ever evicted
    interval_s : seconds between two aging passes
    kernel : version of the source, such as "6.15"
    mm : version of Linux in how the host keeps its memory (``mkold.mm.versions``)
    page_size : base page, such as "4k"
    clear : how the lockless pass clears the accessed bit
    mmu : the mode of the VM's MMU
    nested : whether the vCPUs run a guest of the guest
    variant : name of a stated change to the source ("" for none)
    swap_latency_us : what reading a page back from swap costs the vCPU, microseconds
    tlb_entries : entries of each vCPU's TLB, a power of two
    switch_interval_s : seconds between two world switches, each of which costs a vCPU its
        TLB; 0: there are none
    pin : whether each thread keeps to a core of its own, as far as there are
    bloom : whether Bloom filters limit the periodic walks too (those that reclaim asks for
        always heed them)
    """

    arch: str = ""
    kernel: str = ""
    mm: str = USUAL
    vcpus: int = 1
    memory_share: float = 0.7
    interval_s: float = 0.05
    page_size: str = ""
    clear: str = ""
    mmu: str = ""
    nested: bool = False
    variant: str = ""
    swap_latency_us: float = 50.0
    tlb_entries: int = 1024
    switch_interval_s: float = 0.01
    pin: bool = False
    bloom: bool = False

    def check(self) -> MachineSpec:
        """The same machine with every name filled in, if it makes sense.

        Raises
        ------
        UsageError : naming the value that does not
        """
        if not 1 <= self.vcpus <= KVM_MAX_VCPUS:
            raise UsageError(f"{self.vcpus} vCPUs: 1 to {KVM_MAX_VCPUS} are supported")
        if not 0.01 <= self.memory_share <= 4:
            raise UsageError(f"a memory share of {self.memory_share:g}: 0.01 to 4 make sense")
        if not 0 < self.interval_s <= 3600:
            raise UsageError(f"an aging interval of {self.interval_s:g} s makes no sense")
        if not 0 <= self.swap_latency_us <= 1e6:
            raise UsageError(f"a swap latency of {self.swap_latency_us:g} us makes no sense")
        n = self.tlb_entries
        if not 16 <= n <= 1 << 20 or n & (n - 1):
            raise UsageError(f"a TLB of {n} entries: a power of two, 16 to 1048576")
        if not 0 <= self.switch_interval_s <= 3600:
            raise UsageError(f"{self.switch_interval_s:g} s between world switches: 0 to 3600")
        if self.mm not in VERSIONS:
            raise UsageError(f"no rules of memory for {self.mm}: {', '.join(VERSIONS)}")
        arch = self.architecture
        if self.variant:
            chosen("variant", arch.variants, self.variant)
        mmu = chosen("mode", arch.modes, self.mmu)
        if self.nested and (not arch.nesting or mmu not in arch.nesting.modes):
            raise UsageError(f"{arch.name} has no guest of a guest in mode {mmu}")
        return replace(
            self,
            arch=self.arch or next(iter(ARCHITECTURES)),
            kernel=chosen("kernel", arch.kernels, self.kernel),
            page_size=chosen("page size", arch.page_sizes, self.page_size),
            clear=chosen("way to clear", arch.clears, self.clear),
            mmu=mmu,
        )

    @property
    def architecture(self) -> Architecture:
        """What the machine is built of."""
        return architecture(self.arch or next(iter(ARCHITECTURES)))

    @property
    def nesting(self) -> Nesting | None:
        """How the guest comes to be one of the guest's own; None: it is not."""
        return self.architecture.nesting if self.nested else None

    @property
    def lockless(self) -> bool:
        """Whether the kernel can age without ``mmu_lock``."""
        kernels = self.architecture.kernels
        return kernels[chosen("kernel", kernels, self.kernel)].lockless

    @property
    def tlb(self) -> str:
        """Its TLB in words."""
        if not self.switch_interval_s:
            return f"TLB of {self.tlb_entries:,} entries, never emptied"
        when = f"emptied every {self.switch_interval_s * 1e3:g} ms"
        return f"TLB of {self.tlb_entries:,} entries, {when}"

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
    paths : aging paths, each one of ``PATHS``; one that stands twice is compared with itself,
        which tells how far any two figures of this host can be trusted
    duration_s : seconds in all, shared by paths and rounds
    rounds : how often each path runs at most, the paths taking turns
    precision : half the width of the interval of the guest's rate at which measuring ends
        early, as a share (0.02); 0: all rounds are run
    seed : chooses where in the trace the vCPUs start and the order of paths in a round
    saved_s : seconds of ``duration_s`` in which to look for the smallest share of memory that
        keeps the guest as fast; 0: it is not looked for
    """

    paths: tuple[str, ...] = PATHS
    duration_s: float = 30.0
    rounds: int = 8
    precision: float = 0.0
    seed: int = 1
    saved_s: float = 0.0

    def check(self) -> RunSpec:
        """Return self if it makes sense.

        Raises
        ------
        UsageError : naming the value that does not
        """
        unknown = [path for path in self.paths if path not in PATHS]
        if unknown or not self.paths or len(self.paths) > MAX_PATHS:
            raise UsageError(f"paths {','.join(self.paths)}: a choice of {', '.join(PATHS)}")
        if not 1 <= self.rounds <= 1000:
            raise UsageError(f"{self.rounds} rounds: 1 to 1000 make sense")
        if not 0.01 <= self.duration_s <= 86400:
            raise UsageError(f"a duration of {self.duration_s:g} s makes no sense")
        if not 0 <= self.saved_s < self.duration_s:
            raise UsageError(f"{self.saved_s:g} s to look for the smallest share of memory")
        if not 0 <= self.precision <= 1:
            raise UsageError(f"a precision of {self.precision:g}: a share below 1, as 2%")
        return self

    @property
    def slot_s(self) -> float:
        """Seconds of one measurement of one path, its warm-up included."""
        return (self.duration_s - self.saved_s) / (self.rounds * len(self.paths))

    @property
    def warmup_s(self) -> float:
        """Seconds replayed before a measurement starts."""
        return min(0.2 * self.slot_s, MAX_WARMUP_S)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each path: its own, then ``locked #2`` where it stands again."""
        seen: dict[str, int] = {}
        found = []
        for path in self.paths:
            seen[path] = seen.get(path, 0) + 1
            found.append(path if seen[path] == 1 else f"{path} #{seen[path]}")
        return tuple(found)
