"""Results of runs that nobody measured, for tests of what is said of them."""

from __future__ import annotations

from dataclasses import replace

from mkold.run.figures import comparisons, summarise
from mkold.run.results import GenerationSample, Round, RunResult, TraceInfo
from mkold.run.spec import MachineSpec, RunSpec


def a_round(path: str, accesses: int, **changes: int) -> Round:
    base = Round(
        path=path, vcpus=1, whole=True, elapsed_s=2.0, vcpu_cpu_s=1.0, accesses=accesses,
        passes=10, entries=1000,
        walk_s=1e-4, lock_wait_s=0.2, swap_wait_s=1.0, reclaim_s=0.0, faults=50, refaults=20,
        recent_refaults=10, evicted=40, young_reported=9, young_true=10, young_agreed=8,
        mismatches=0, fault_ns=((100.0, 49), (9000.0, 1)),
        generations=(GenerationSample(1.0, (5, 3), 2),),
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def a_result(*rounds: Round, **changes: object) -> RunResult:
    names = tuple(dict.fromkeys(r.path for r in rounds))
    paths = tuple(summarise(n, [r for r in rounds if r.path == n]) for n in names)
    info = TraceInfo("t", "true", 10, 100, 5)
    spec = RunSpec(paths=tuple(n.split(" #")[0] for n in names) or ("none",))
    result = RunResult(
        info, MachineSpec(), spec, 7, 10, 150, paths, 0.1, comparisons=comparisons(paths)
    )
    return replace(result, **changes)  # type: ignore[arg-type]
