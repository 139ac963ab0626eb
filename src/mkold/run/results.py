"""What a run found: per round, per path, all together; and the JSON form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from mkold.run.spec import MachineSpec, RunSpec

SCHEMA = "mkold.run/1"


@dataclass(frozen=True, slots=True)
class GenerationSample:
    """Pages by generation, youngest first, at one moment.

    Parameters
    ----------
    at_s : seconds since measuring started
    pages : pages in each generation, youngest first (2 to 4 numbers)
    evicted : pages of the footprint that are not in memory
    """

    at_s: float
    pages: tuple[int, ...]
    evicted: int


@dataclass(frozen=True, slots=True)
class Round:
    """One path, measured once. Counts are those of the measured time only."""

    path: str
    elapsed_s: float
    vcpu_cpu_s: float
    accesses: int
    passes: int
    entries: int
    walk_s: float
    lock_wait_s: float
    swap_wait_s: float
    reclaim_s: float
    faults: int
    refaults: int
    recent_refaults: int
    evicted: int
    young_reported: int
    young_true: int
    young_agreed: int
    mismatches: int
    generations: tuple[GenerationSample, ...]


@dataclass(frozen=True, slots=True)
class PathResult:
    """One aging path: medians over its rounds.

    Parameters
    ----------
    guest_accesses_per_s : all vCPUs together, by the clock on the wall
    guest_accesses_per_cpu_s : by the CPU time that the vCPUs' threads got; less noisy where
        other programs run on the same cores
    aging_passes : in a round
    aging_ns_per_pte : time in aging walks over the entries they examined; None without any
    lock_wait_share : share of the vCPUs' time lost waiting for ``mmu_lock``
    swap_wait_share : share of the vCPUs' time lost waiting for swap
    reclaim_share : share of it spent in faults that found no free frame, evicting pages or
        waiting for the aging pass that must come first
    faults : guest page faults in a round; one that met an invalidation and was tried again
        counts once
    refaults : pages that came back after eviction, in a round
    recent_refaults : those of them that came back within a few generations
    young_reported, young_true : pages by pass, summed over a round: reported young to the
        host, and truly touched by the guest; ``young_agreed`` are both
    mismatches : reads that did not give what was written: 0, or mkold or a variant is wrong
    """

    path: str
    guest_accesses_per_s: float
    guest_accesses_per_cpu_s: float
    aging_passes: float
    aging_ns_per_pte: float | None
    lock_wait_share: float
    swap_wait_share: float
    reclaim_share: float
    faults: float
    refaults: float
    recent_refaults: float
    evicted: float
    young_reported: float
    young_true: float
    young_agreed: float
    mismatches: int
    rounds: tuple[Round, ...]

    @property
    def spread(self) -> float:
        """Largest over smallest rate of the rounds: how far to trust the median."""
        rates = [r.accesses / r.elapsed_s for r in self.rounds if r.accesses]
        return max(rates) / min(rates) if rates else 1.0


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """Which trace was replayed."""

    name: str
    command: str
    pages: int
    accesses: int
    rows: int


@dataclass(frozen=True, slots=True)
class RunResult:
    """A whole run.

    ``interrupted``: it was stopped early, and this is what there was. ``failures``: a
    BUG_ON or failed check that ended a path, which is what a wrong variant is for.
    """

    trace: TraceInfo
    machine: MachineSpec
    spec: RunSpec
    frames: int
    pages: int
    paths: tuple[PathResult, ...]
    startup_s: float
    interrupted: bool = False
    failures: tuple[str, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether something went wrong in the guest: a value lost, a bug met."""
        return bool(self.failures) or any(path.mismatches for path in self.paths)

    def path(self, name: str) -> PathResult:
        """The result of one path.

        Raises
        ------
        KeyError : it was not run
        """
        for result in self.paths:
            if result.path == name:
                return result
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """JSON values of the schema ``mkold.run/1``."""
        machine = asdict(self.machine) | {"frames": self.frames, "pages": self.pages}
        return {
            "schema": SCHEMA,
            "trace": asdict(self.trace),
            "machine": machine,
            "measure": asdict(self.spec),
            "interrupted": self.interrupted,
            "failures": list(self.failures),
            "startup_s": self.startup_s,
            "paths": [asdict(path) | {"spread": path.spread} for path in self.paths],
        }


def summarise(path: str, rounds: Iterable[Round], vcpus: int) -> PathResult:
    """Medians over ``rounds`` of one path."""
    found = tuple(rounds)
    time_s = [r.elapsed_s * vcpus for r in found]
    per_pte = [r.walk_s / r.entries * 1e9 for r in found if r.entries]
    return PathResult(
        path=path,
        guest_accesses_per_s=median(r.accesses / r.elapsed_s for r in found),
        guest_accesses_per_cpu_s=median(r.accesses / max(r.vcpu_cpu_s, 1e-9) for r in found),
        aging_passes=median(r.passes for r in found),
        aging_ns_per_pte=median(per_pte) if per_pte else None,
        lock_wait_share=median(r.lock_wait_s / t for r, t in zip(found, time_s, strict=True)),
        swap_wait_share=median(r.swap_wait_s / t for r, t in zip(found, time_s, strict=True)),
        reclaim_share=median(r.reclaim_s / t for r, t in zip(found, time_s, strict=True)),
        faults=median(r.faults for r in found),
        refaults=median(r.refaults for r in found),
        recent_refaults=median(r.recent_refaults for r in found),
        evicted=median(r.evicted for r in found),
        young_reported=median(r.young_reported for r in found),
        young_true=median(r.young_true for r in found),
        young_agreed=median(r.young_agreed for r in found),
        mismatches=sum(r.mismatches for r in found),
        rounds=found,
    )
