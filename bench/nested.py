"""Guests of the guest: what aging sees of L2, and what it costs L2, by the three designs.

Usage: python bench/nested.py [SECONDS]     (of each design, 30)

One vCPU runs L2, nothing is evicted, a pass begins every 50 ms. *Refused* is the fast path as
it stands, *as posted* the patch that does not know of L2, *lockless* the reverse map walked
without the lock (``NESTED_LOCKLESS``). Rates are by the processor time of the vCPU: the
figures of a busy host can be compared all the same.
"""

from __future__ import annotations

import sys

from mkold.run.measure import run_program
from mkold.run.results import PathResult, RunResult
from mkold.run.spec import MachineSpec, RunSpec
from mkold.run.workloads import workload

BYTES = 256 << 20
DESIGNS = (
    ("none", "none", ""),
    ("locked", "locked", ""),
    ("fast path refuses", "lockless", ""),
    ("fast path as posted", "lockless", "as_posted"),
    ("fast path, lockless rmap", "lockless", "nested_lockless"),
)


def measured(variant: str, seconds: float) -> RunResult:
    """All paths of one build."""
    machine = MachineSpec(
        vcpus=1, memory_share=1.0, interval_s=0.05, nested=True, variant=variant
    )
    spec = RunSpec(paths=("none", "locked", "lockless"), duration_s=seconds, rounds=6)
    program, info = workload("zipf", machine.check(), BYTES)
    return run_program(program, info, machine, spec)


def row(title: str, path: PathResult, base: PathResult) -> str:
    """One line of the table; ``base`` is the same build without aging."""
    cpu = sum(r.vcpu_cpu_s for r in path.rounds)
    faults = sum(r.faults for r in path.rounds) / cpu
    own, none = (p.figures["guest_accesses_per_cpu_s"] or 0.0 for p in (path, base))
    cells = [title, f"{own / 1e6:.1f}", f"{own / none:.2f}", f"{faults / 1e3:.0f}"]
    for key, scale, digits in (
        ("aging_pass_ms", 1, 2),
        ("aging_ns_per_pte", 1, 0),
        ("lock_wait_share", 100, 1),
        ("young_seen_share", 100, 1),
    ):
        value = path.figures[key]
        cells.append("-" if value is None else f"{value * scale:.{digits}f}")
    return f"| {' | '.join(cells)} |"


def main(argv: list[str]) -> None:
    seconds = float(argv[0]) if argv else 30.0
    print("| aging | L2 accesses, M/s | of none | L2 faults, k/s | a pass, ms | ns an entry "
          "| waiting for mmu_lock, % | of L2's pages seen young, % |")  # fmt: skip
    print("| --- " + "| ---: " * 7 + "|")
    results = {v: measured(v, seconds) for v in dict.fromkeys(d[2] for d in DESIGNS)}
    for title, path, variant in DESIGNS:
        result = results[variant]
        print(row(title, result.path(path), result.path("none")), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
