"""``mkold run``: age a guest that replays a trace, path by path, side by side."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from mkold.base.errors import Exit, UsageError
from mkold.base.shown import shown
from mkold.cli.options import (
    StatusLine,
    add_output_options,
    check_output,
    deliver,
    positive_float,
    positive_int,
    seed,
    share,
    size,
)
from mkold.kvm.architectures import ARCHITECTURES
from mkold.mm.versions import USUAL, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mkold.run.results import RunResult
    from mkold.run.session import Progress
    from mkold.run.spec import MachineSpec, RunSpec

HELP = (
    "Age a guest that replays a program's memory trace, or a made workload, and compare the "
    "aging paths: none, locked, lockless."
)
PATHS = ("none", "locked", "lockless", "locked")
ALL = "all"
ONE_S, BOTH_S = 30.0, 60.0
TRACE_PART = 0.4  # of the time, where both the trace and the large guest run

_EPILOG = """\
examples:
  mkold run                               a shipped trace and a large guest, in a minute
  mkold run sort.parquet --memory-share 50%
  mkold run --workload access_tracking -v 2 -b 1G --overlap
  mkold run --paths locked,lockless,locked --interval 10 --precision 1%
  mkold run --workload zipf -b 64M --nested   a guest in a guest
  mkold run --arch all --workload zipf -b 256M    one line for each architecture
  mkold run -o report.html                pictures too, in one file
  mkold run --sweep vcpus=1..4,interval=10:100 -o sweep.parquet     a grid, resumable
  mkold run --json -o result.json

The paths take turns on the same machine and do the same accesses. A figure is that of all
rounds together; a ratio is that of its columns, with its 95 % interval from paired rounds.
A path that is named twice is compared with itself: that is the noise of this host. Each
access is performed by a vCPU thread: TLB, page walk, fault, and a check of what is read.
Ctrl-C ends the run within a second and shows what was measured so far.
"""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mkold run``."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "trace", nargs="?", metavar="TRACE", help="a trace file, or the name of a shipped one"
    )
    _workload_options(parser.add_argument_group("made guests"))
    _machine_options(parser.add_argument_group("machine"))
    _measuring_options(parser.add_argument_group("measuring"))
    add_output_options(parser, json_schema="mkold.run/2")


def _workload_options(made: argparse._ArgumentGroup) -> None:
    made.add_argument(
        "--workload", metavar="NAME", help="a made workload instead (a wrong name lists them)"
    )
    made.add_argument(
        "-b", "--bytes", type=size, metavar="SIZE",
        help="memory of each vCPU, as 512M or 16G (2G)",
    )  # fmt: skip
    made.add_argument(
        "--overlap", action="store_true", help="all vCPUs share the memory of one"
    )


def _machine_options(machine: argparse._ArgumentGroup) -> None:
    machine.add_argument(
        "-v", "--vcpus", type=positive_int, metavar="N",
        help="vCPU threads (cores less one, to 4)",
    )  # fmt: skip
    machine.add_argument(
        "--memory-share", type=share, metavar="SHARE",
        help="frames as a share of the pages touched (70%%; 100%%, which evicts nothing, for "
        "made guests)",
    )  # fmt: skip
    machine.add_argument(
        "--interval", type=positive_float, default=100.0, metavar="MS",
        help="milliseconds between aging passes (100)",
    )  # fmt: skip
    machine.add_argument(
        "--arch", default="", metavar="NAME",
        help=f"{', '.join(ARCHITECTURES)} (the first), or all, with one line for each",
    )  # fmt: skip
    machine.add_argument(
        "--kernel", default="", metavar="VERSION",
        help="how that kernel ages (a name that is none lists them)",
    )  # fmt: skip
    machine.add_argument(
        "--mm", default=USUAL, metavar="VERSION",
        help=f"how that Linux keeps the host's memory: {', '.join(VERSIONS)} ({USUAL})",
    )  # fmt: skip
    machine.add_argument(
        "--page-size", default="", metavar="SIZE", help="base page, such as 4k or 64k (4k)"
    )
    machine.add_argument(
        "--clear", default="", metavar="WAY",
        help="how the lockless pass clears the bit (a name that is none lists them)",
    )  # fmt: skip
    machine.add_argument(
        "--mmu", default="", metavar="MODE", help="the mode of the guest's MMU"
    )
    machine.add_argument(
        "--nested", action="store_true",
        help="the guest runs in a guest: L0 hosts L1, and the trace is L1's guest's",
    )  # fmt: skip
    machine.add_argument(
        "--variant", default="", metavar="NAME", help="a stated change to the source"
    )
    _memory_options(machine)


def _memory_options(machine: argparse._ArgumentGroup) -> None:
    machine.add_argument(
        "--swap-latency", type=positive_float, default=50.0, metavar="US",
        help="microseconds a vCPU waits for a page from swap (50)",
    )  # fmt: skip
    machine.add_argument(
        "--tlb-entries", type=positive_int, default=1024, metavar="N",
        help="entries of each vCPU's TLB, a power of two (1024)",
    )  # fmt: skip
    machine.add_argument(
        "--switch-interval", type=float, default=10.0, metavar="MS",
        help="milliseconds between world switches, which empty the TLB; 0: none (10)",
    )  # fmt: skip
    machine.add_argument(
        "--pin",
        action="store_true",
        help="each thread on a core of its own, as far as there are",
    )
    machine.add_argument(
        "--bloom", action="store_true", help="let Bloom filters limit the periodic passes too"
    )


def _measuring_options(measure: argparse._ArgumentGroup) -> None:
    measure.add_argument(
        "--paths", metavar="LIST",
        help="which; one that is named twice gives the noise (none,locked,lockless,locked, as "
        "far as the kernel has them)",
    )  # fmt: skip
    measure.add_argument(
        "--duration", type=positive_float, metavar="S",
        help="seconds of measuring, shared by guests, paths and rounds; booting comes on top "
        "(30; 60 where two guests run)",
    )  # fmt: skip
    measure.add_argument(
        "--rounds", type=positive_int, default=8, metavar="N",
        help="turns of each path, at most (8)",
    )  # fmt: skip
    measure.add_argument(
        "--precision", type=share, default=0.02, metavar="SHARE",
        help="end when the guest's rate is compared within this (2%%)",
    )  # fmt: skip
    measure.add_argument(
        "--sweep", metavar="GRID",
        help="every combination of KEY=VALUES,... as vcpus=1..4,pages=64k..1Mx2, to -o "
        "FILE.parquet (a wrong key lists them; --duration is of each point then, 10)",
    )  # fmt: skip
    measure.add_argument(
        "--memory-limit", type=size, metavar="BYTES",
        help="memory for all of it, as 800M or 4G (default: what the machine has)",
    )  # fmt: skip
    measure.add_argument(
        "--seed", type=seed, default=1, metavar="N",
        help="where in the trace vCPUs start, and what is drawn (1)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Measure, show, and say by the exit code whether all was read back as written."""
    if not args.sweep:
        check_output(args)
    _check_report(args)
    asked = [_specs(args, arch) for arch in _architectures(args)]
    if args.sweep:
        from mkold.cli.sweep import sweep

        return sweep(args, *asked[0])
    status = StatusLine()
    try:
        results = _measure(args, asked, status.show)
    except KeyboardInterrupt:
        status.clear()
        _leave()
    finally:
        status.clear()
    deliver(args, _json(results), lambda: _shown(args, results), coloured=True)
    if _is_report(args):
        print(f"{shown(args.output)}: the report")
    if any(result.interrupted for result in results):
        print("mkold: interrupted; the figures are of what was measured", file=sys.stderr)
        return Exit.INTERRUPTED
    return Exit.COUNTEREXAMPLE if any(r.wrong for r in results) else Exit.HOLDS


def _measure(
    args: argparse.Namespace, asked: list[tuple[MachineSpec, RunSpec]], progress: Progress
) -> list[RunResult]:
    """The guests that were asked for, one after the other, until one is interrupted."""
    from mkold.cli.run_guests import made, measure_one, replayed

    both = args.trace is None and args.workload is None and len(asked) == 1
    total = args.duration or (BOTH_S if both or len(asked) > 1 else ONE_S)
    parts = [TRACE_PART, 1 - TRACE_PART] if both else [1 / len(asked)] * len(asked)
    guests = [replayed, made] if both else [measure_one] * len(asked)
    results: list[RunResult] = []
    for guest, part, (machine, spec) in zip(guests, parts, asked * len(guests), strict=False):
        timed = replace(spec, duration_s=total * part).check()
        try:
            results.append(guest(args, machine, timed, progress))
        except KeyboardInterrupt:
            if not results:
                raise
            return [*results[:-1], replace(results[-1], interrupted=True)]
        if results[-1].interrupted:
            break
    return results


def _is_report(args: argparse.Namespace) -> bool:
    return args.output is not None and args.output.name.endswith(".html")


def _check_report(args: argparse.Namespace) -> None:
    """Say that a library is missing before the work rather than after it."""
    if _is_report(args) and importlib.util.find_spec("matplotlib") is None:
        raise UsageError("a report with pictures needs matplotlib: pip install 'mkold[report]'")


def _leave() -> NoReturn:
    """End the process though the compiler may be at work in a thread.

    It can't be stopped, and an ordinary exit would take its memory from under it.
    """
    print("mkold: interrupted", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(Exit.INTERRUPTED)


def _architectures(args: argparse.Namespace) -> list[str]:
    """Whose machines to run: the one that was named, or all."""
    if args.arch != ALL:
        return [args.arch]
    for name in ("kernel", "clear", "mmu", "variant", "nested", "sweep"):
        if getattr(args, name):
            raise UsageError(f"--{name} is of one architecture: --arch all has several")
    return list(ARCHITECTURES)


def _specs(args: argparse.Namespace, arch: str) -> tuple[MachineSpec, RunSpec]:
    from mkold.run.spec import MachineSpec, RunSpec, default_vcpus

    if args.trace is not None and args.workload is not None:
        raise UsageError("a trace and --workload: name one of them")
    if args.trace is not None and (args.overlap or args.bytes):
        raise UsageError("-b and --overlap are of made guests, not of a trace")
    machine = MachineSpec(
        arch=arch,
        kernel=args.kernel,
        mm=args.mm,
        vcpus=args.vcpus or default_vcpus(),
        interval_s=args.interval / 1e3,
        page_size=args.page_size,
        clear=args.clear,
        mmu=args.mmu,
        nested=args.nested,
        variant=args.variant,
        swap_latency_us=args.swap_latency,
        tlb_entries=args.tlb_entries,
        switch_interval_s=args.switch_interval / 1e3,
        pin=args.pin,
        bloom=args.bloom,
    )
    spec = RunSpec(
        paths=_paths(args, machine),
        rounds=args.rounds,
        precision=args.precision,
        seed=args.seed,
    )
    return machine.check(), spec.check()


def _paths(args: argparse.Namespace, machine: MachineSpec) -> tuple[str, ...]:
    """The paths to run: those that were named, or all that the kernel has."""
    if args.paths is None:
        return tuple(path for path in PATHS if path != "lockless" or machine.lockless)
    paths = tuple(path.strip() for path in args.paths.split(",") if path.strip())
    if not paths:
        raise UsageError("--paths names no path")
    if "lockless" in paths and not machine.lockless:
        raise UsageError(f"kernel {machine.check().kernel} ages under mmu_lock only")
    return paths


def _json(results: Sequence[RunResult]) -> dict[str, object]:
    from mkold.run.finding import notes, summary
    from mkold.run.results import SCHEMA

    guests = [result.to_json() | {"notes": notes(result)} for result in results]
    return {"schema": SCHEMA, "guests": guests, "found": summary(results)}


def _shown(args: argparse.Namespace, results: Sequence[RunResult]) -> str:
    if _is_report(args):
        from mkold.view.report import report_html

        return report_html(results)
    from mkold.view.architectures import architectures_text
    from mkold.view.run import run_text

    if args.arch == ALL:
        return architectures_text(results)
    terminal = args.output is None and sys.stdout.isatty()
    colour = terminal and "NO_COLOR" not in os.environ
    encoding = "utf-8" if args.output is not None else (sys.stdout.encoding or "ascii")
    return run_text(results, colour=colour, unicode=encoding.lower().startswith("utf"))
