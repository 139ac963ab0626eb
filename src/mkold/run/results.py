"""What a run found: per round, per path, all together; and the JSON form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from mkold.run.activity import Activity
from mkold.run.interval import Ratio
from mkold.run.spec import MachineSpec, RunSpec
from mkold.run.steady import Misses

SCHEMA = "mkold.run/2"


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
    """One path, measured once. Counts are those of the measured time only.

    Parameters
    ----------
    path : its label (``RunSpec.labels``)
    vcpus : how many shared ``elapsed_s``; the times of waiting add up over all of them
    whole : whether all the work was done; if not, it is not comparable
    fault_ns : faults by latency: nanoseconds (the upper end of a bucket), how many
    """

    path: str
    vcpus: int
    whole: bool
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
    fault_ns: tuple[tuple[float, int], ...]
    generations: tuple[GenerationSample, ...]


@dataclass(frozen=True, slots=True)
class PathResult:
    """One aging path and its rounds; ``mkold.run.figures`` says what they come to.

    Parameters
    ----------
    path : its label
    figures : the value of each figure by its key, None where there was nothing to measure
    least_share : the smallest share of memory with which the guest is nearly as fast as with
        all of it (``mkold.run.saved``); None where it was not looked for
    """

    path: str
    rounds: tuple[Round, ...]
    figures: dict[str, float | None] = field(default_factory=dict)
    least_share: float | None = None

    def __getitem__(self, key: str) -> float:
        """The figure ``key``.

        Raises
        ------
        KeyError : there is no such figure, or nothing was measured of it
        """
        value = self.figures[key]
        if value is None:
            raise KeyError(key)
        return value

    @property
    def mismatches(self) -> int:
        """Reads that did not give what was written: 0, or mkold or a variant is wrong."""
        return sum(r.mismatches for r in self.rounds)


@dataclass(frozen=True, slots=True)
class PathPhases:
    """The phases of one path: seconds by name, None where the path does nothing; reads that
    went wrong."""

    path: str
    seconds: dict[str, float | None]
    mismatches: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of one path over that of another, with the interval of the ratio."""

    figure: str
    path: str
    base: str
    ratio: float
    low: float | None
    high: float | None

    @property
    def interval(self) -> Ratio:
        """The ratio with its interval, as it was found."""
        return Ratio(self.ratio, self.low, self.high)


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
    """A whole run of one guest.

    Parameters
    ----------
    accesses : of each vCPU in a round, the same for every path
    comparisons : of the figures that compare
    misses : what other policies would miss in one more time through the trace; None where
        nothing is evicted, or the guest was made
    activity : what the program touches, when and where; None where a run was cut short
    phases : of a selftest, path by path
    spoiled : what on this host makes the figures less sure, one sentence each
    interrupted : it was stopped early, and this is what there was
    failures : a BUG_ON or failed check that ended a path, which is what a wrong variant is for
    """

    trace: TraceInfo
    machine: MachineSpec
    spec: RunSpec
    frames: int
    pages: int
    accesses: int
    paths: tuple[PathResult, ...]
    startup_s: float
    comparisons: tuple[Comparison, ...] = ()
    misses: Misses | None = None
    activity: Activity | None = None
    phases: tuple[PathPhases, ...] = ()
    spoiled: tuple[str, ...] = ()
    interrupted: bool = False
    failures: tuple[str, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether something went wrong in the guest: a value lost, a bug met."""
        return bool(self.failures) or self.mismatches > 0

    @property
    def mismatches(self) -> int:
        """Reads that did not give what was written, on all paths."""
        rounds = sum(path.mismatches for path in self.paths)
        return rounds + sum(path.mismatches for path in self.phases)

    @property
    def times_through(self) -> float:
        """How often a vCPU went through the whole trace in one round."""
        return self.accesses / self.trace.accesses

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

    def compared(self, figure: str) -> Iterator[Comparison]:
        """The comparisons of one figure."""
        return (c for c in self.comparisons if c.figure == figure)

    def to_json(self) -> dict[str, Any]:
        """JSON values: one guest of the schema ``mkold.run/2``."""
        machine = asdict(self.machine) | {"frames": self.frames, "pages": self.pages}
        return {
            "trace": asdict(self.trace),
            "machine": machine,
            "measure": asdict(self.spec),
            "accesses_per_vcpu": self.accesses,
            "times_through": self.times_through,
            "interrupted": self.interrupted,
            "failures": list(self.failures),
            "spoiled": list(self.spoiled),
            "startup_s": self.startup_s,
            "paths": [_path_json(path) for path in self.paths],
            "comparisons": [asdict(c) for c in self.comparisons],
            "working_set_pages": self.activity.percentiles() if self.activity else None,
            "phases": [asdict(phases) for phases in self.phases],
            "misses_once_through": asdict(self.misses) if self.misses else None,
        }


def _path_json(path: PathResult) -> dict[str, Any]:
    own = {"path": path.path, "least_share": path.least_share}
    return {**own, **path.figures, "rounds": [asdict(r) for r in path.rounds]}
