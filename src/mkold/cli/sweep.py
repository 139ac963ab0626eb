"""``mkold run --sweep``: a grid of runs into one Parquet file, resumable, and a plot.

The file is written anew after each point, whole or not at all. Its metadata says what was
asked for; a sweep that is started again with the same words does only what is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from dataclasses import asdict, replace
from functools import partial

from mkold.base.errors import Exit, UsageError
from mkold.base.output import refuse_overwrite, write_file
from mkold.base.shown import shown
from mkold.cli.options import StatusLine
from mkold.cli.run_guests import measure_one
from mkold.run.spec import MachineSpec, RunSpec
from mkold.run.sweep import Point, machine_at, parse, points
from mkold.run.table import Table

POINT_S = 10.0


def sweep(args: argparse.Namespace, machine: MachineSpec, spec: RunSpec) -> int:
    """Run every point of the grid that the file does not have yet.

    Raises
    ------
    UsageError : no file to write to, or a point makes no sense
    InputError : the file is of another sweep
    """
    if args.output is None or args.output.suffix != ".parquet":
        raise UsageError("--sweep writes a table: name it, as -o sweep.parquet")
    grid = parse(args.sweep)
    if "pages" in grid and args.trace is not None:
        raise UsageError("--sweep pages=...: a trace has the pages that it has (--workload)")
    spec = replace(spec, duration_s=args.duration or POINT_S).check()
    wanted = points(grid)
    machines = [
        machine_at(point, machine) for point in wanted
    ]  # all are sound, before any runs
    table = Table(args.output, list(grid), _asked(args, machine, spec), force=args.force)
    if not table.rows:
        refuse_overwrite(args.output.with_suffix(".svg"), force=args.force)
    status = StatusLine()
    interrupted = False
    for number, (point, at) in enumerate(zip(wanted, machines, strict=True), 1):
        if table.has(point):
            continue
        said = f"point {number} of {len(wanted)}: "
        try:
            result = measure_one(_at(args, point, at), at, spec, partial(_show, status, said))
        except KeyboardInterrupt:
            interrupted = True
            break
        finally:
            status.clear()
        if result.interrupted:
            interrupted = True
            break
        table.add(point, result)
    return _end(args, table, interrupted, len(wanted))


def _show(status: StatusLine, said: str, text: str) -> None:
    status.show(said + text)


def _at(args: argparse.Namespace, point: Point, machine: MachineSpec) -> argparse.Namespace:
    """The options of one point."""
    own = argparse.Namespace(**vars(args))
    if "pages" in point:
        own.bytes = int(point["pages"]) << machine.page_shift
    if "memory-share" in point:
        own.memory_share = point["memory-share"]
    own.workload = args.workload or (None if args.trace else "zipf")
    return own


def _asked(args: argparse.Namespace, machine: MachineSpec, spec: RunSpec) -> str:
    """What decides the figures, as text: the same words, the same sweep."""
    own = {
        name: getattr(args, name) for name in ("trace", "workload", "overlap", "memory_share")
    }
    return json.dumps(
        {**own, "machine": asdict(machine), "measure": asdict(spec)}, sort_keys=True
    )


def _end(args: argparse.Namespace, table: Table, interrupted: bool, n_points: int) -> int:
    done = table.n_points
    print(f"{shown(args.output)}: {done} of {n_points} points")
    cores = len(os.sched_getaffinity(0))
    if any(row.get("vcpus", 0) + 1 > cores for row in table.rows):
        print(
            f"From {cores} vCPUs on the threads share this host's {cores} cores: these points "
            "tell of waiting for a core too."
        )
    if done and importlib.util.find_spec("matplotlib") is not None:
        from mkold.view.report.plots import grid

        picture = args.output.with_suffix(".svg")
        write_file(picture, grid(table.rows, table.keys), force=True)
        print(f"{shown(picture)}: the plot")
    elif done:
        print("no plot: that needs matplotlib (pip install 'mkold[report]')", file=sys.stderr)
    if interrupted:
        print("mkold: interrupted; the same command goes on from here", file=sys.stderr)
        return Exit.INTERRUPTED
    return Exit.HOLDS
