"""The guests of ``mkold run``: a trace that is replayed, a workload that is made."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from mkold.base.errors import UsageError
from mkold.base.memory import allowance
from mkold.base.shown import shown
from mkold.run.results import RunResult
from mkold.run.session import Progress
from mkold.run.spec import MachineSpec, RunSpec

DEFAULT_TRACE = "lookup"
DEFAULT_WORKLOAD = "zipf"
DEFAULT_BYTES = 2 << 30
TRACE_SHARE, WORKLOAD_SHARE = 0.7, 1.0
SAVED_PART = 0.4  # of a trace's time, to look for the least memory that will do


def measure_one(
    args: argparse.Namespace, machine: MachineSpec, spec: RunSpec, progress: Progress
) -> RunResult:
    """The one guest that the options name."""
    return (made if args.workload else replayed)(args, machine, spec, progress)


def replayed(
    args: argparse.Namespace, machine: MachineSpec, spec: RunSpec, progress: Progress
) -> RunResult:
    """The trace that is named, or the first that ships."""
    from mkold.run.measure import run as measure
    from mkold.trace import find_trace, shipped
    from mkold.trace.formats.door import open_trace

    bound = args.memory_limit or allowance()
    known = shipped()
    chosen = args.trace or (DEFAULT_TRACE if DEFAULT_TRACE in known else next(iter(known), ""))
    if not chosen:
        raise UsageError("no trace: name a file (mkold record makes one)")
    path = find_trace(chosen)
    trace, said = open_trace(path, memory_bytes=bound, seed=args.seed)
    for line in said:
        print(f"mkold: {shown(line)}", file=sys.stderr)
    name = chosen if chosen in known else str(path)
    machine = replace(machine, memory_share=args.memory_share or TRACE_SHARE)
    if machine.memory_share < 1:
        spec = replace(spec, saved_s=SAVED_PART * spec.duration_s)
    return measure(trace, machine, spec=spec, name=name, progress=progress,
                   memory_bytes=bound)  # fmt: skip


def made(
    args: argparse.Namespace, machine: MachineSpec, spec: RunSpec, progress: Progress
) -> RunResult:
    """The workload that is named, or the large guest of the default run."""
    from mkold.run.measure import run_program
    from mkold.run.selftest import PHASES, selftest
    from mkold.run.workloads import workload

    bound = args.memory_limit or allowance()
    machine = replace(machine, memory_share=args.memory_share or WORKLOAD_SHARE)
    progress("making the guest's accesses")
    name = args.workload or DEFAULT_WORKLOAD
    program, info = workload(
        name, machine, args.bytes or DEFAULT_BYTES, overlap=args.overlap, seed=args.seed,
        memory_bytes=bound,
    )  # fmt: skip
    result = run_program(program, info, machine, spec, progress, bound)
    if name not in PHASES or result.interrupted:
        return result
    pages = (args.bytes or DEFAULT_BYTES) >> machine.page_shift
    phases = selftest(name, machine.check(), pages, spec.paths, overlap=args.overlap,
                      progress=progress)  # fmt: skip
    return replace(result, phases=phases)
