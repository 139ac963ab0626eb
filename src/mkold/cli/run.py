"""``mkold run``: age a guest that replays a trace, path by path, side by side."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from mkold.base.errors import Exit, UsageError
from mkold.base.memory import allowance
from mkold.cli.options import (
    StatusLine,
    add_output_options,
    check_output,
    deliver,
    positive_float,
    positive_int,
    share,
    size,
)
from mkold.kvm.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from mkold.run.results import RunResult
    from mkold.run.spec import MachineSpec, RunSpec
    from mkold.trace import Trace

HELP = (
    "Age a guest that replays a program's memory trace on a host with too little memory, "
    "and compare the aging paths: none, locked, lockless."
)
DEFAULT_TRACE = "lookup"
MAX_WARMUP_S = 1.0

_EPILOG = """\
examples:
  mkold run                               a trace that ships with mkold, under a minute
  mkold run sort.parquet --memory-share 50%
  mkold run --paths locked,lockless --vcpus 2 --interval 10
  mkold run --json -o result.json

The paths take turns on the same machine; figures are medians over the rounds. Each access
of the trace is performed by a vCPU thread: TLB, page walk, fault, and a check of what is
read. Ctrl-C ends the run within a second and shows what was measured so far.
"""


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mkold run``."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "trace", nargs="?", metavar="TRACE", help="a trace file, or the name of a shipped one"
    )
    _machine_options(parser.add_argument_group("machine"))
    _measuring_options(parser.add_argument_group("measuring"))
    add_output_options(parser, json_schema="mkold.run/1")


def _machine_options(machine: argparse._ArgumentGroup) -> None:
    machine.add_argument(
        "--vcpus", type=positive_int, metavar="N", help="vCPU threads (cores less one, to 4)"
    )
    machine.add_argument(
        "--memory-share", type=share, default=0.7, metavar="SHARE",
        help="frames as a share of the pages touched (70%%); 100%% evicts nothing",
    )  # fmt: skip
    machine.add_argument(
        "--interval", type=positive_float, default=50.0, metavar="MS",
        help="milliseconds between aging passes (50)",
    )  # fmt: skip
    machine.add_argument(
        "--arch", default="", metavar="NAME", help=f"{', '.join(ARCHITECTURES)} (the first)"
    )
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
        "--variant", default="", metavar="NAME", help="a stated change to the source"
    )
    machine.add_argument(
        "--swap-latency", type=positive_float, default=50.0, metavar="US",
        help="microseconds a vCPU waits for a page from swap (50)",
    )  # fmt: skip
    machine.add_argument(
        "--bloom", action="store_true", help="let Bloom filters limit the periodic passes too"
    )


def _measuring_options(measure: argparse._ArgumentGroup) -> None:
    measure.add_argument(
        "--paths", default="none,locked,lockless", metavar="LIST", help="which, in which order"
    )
    measure.add_argument(
        "--duration", type=positive_float, default=30.0, metavar="S",
        help="seconds in all, shared by paths and rounds (30)",
    )  # fmt: skip
    measure.add_argument(
        "--rounds", type=positive_int, default=3, metavar="N", help="turns of each path (3)"
    )
    measure.add_argument(
        "--memory-limit", type=size, metavar="BYTES",
        help="memory for all of it, as 800M or 4G (default: what the machine has)",
    )  # fmt: skip
    measure.add_argument(
        "--seed", type=int, default=1, metavar="N", help="where in the trace vCPUs start (1)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, show, and say by the exit code whether all was read back as written."""
    check_output(args)
    from mkold.run.measure import run as measure

    machine, spec = _specs(args)
    bound = args.memory_limit or allowance()
    trace, name = _load(args.trace, bound)
    status = StatusLine()
    try:
        result = measure(trace, machine, spec=spec, name=name, progress=status.show,
                         memory_bytes=bound)  # fmt: skip
    except KeyboardInterrupt:
        status.clear()
        _leave()
    finally:
        status.clear()
    deliver(args, result.to_json(), lambda: _text(args, result), coloured=True)
    if result.interrupted:
        print("mkold: interrupted; the figures are of what was measured", file=sys.stderr)
        return Exit.INTERRUPTED
    return Exit.COUNTEREXAMPLE if result.wrong else Exit.HOLDS


def _leave() -> NoReturn:
    """End the process though the compiler may be at work in a thread.

    It can't be stopped, and an ordinary exit would take its memory from under it.
    """
    print("mkold: interrupted", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(Exit.INTERRUPTED)


def _specs(args: argparse.Namespace) -> tuple[MachineSpec, RunSpec]:
    from mkold.run.spec import MachineSpec, RunSpec, default_vcpus

    paths = tuple(path.strip() for path in args.paths.split(",") if path.strip())
    if not paths:
        raise UsageError("--paths names no path")
    machine = MachineSpec(
        arch=args.arch,
        vcpus=args.vcpus or default_vcpus(),
        memory_share=args.memory_share,
        interval_s=args.interval / 1e3,
        page_size=args.page_size,
        clear=args.clear,
        mmu=args.mmu,
        variant=args.variant,
        swap_latency_us=args.swap_latency,
        bloom=args.bloom,
    )
    slot_s = args.duration / (args.rounds * len(paths))
    warmup_s = min(0.2 * slot_s, MAX_WARMUP_S)
    spec = RunSpec(
        paths=paths,
        rounds=args.rounds,
        duration_s=slot_s - warmup_s,
        warmup_s=warmup_s,
        seed=args.seed,
    )
    return machine.check(), spec.check()


def _load(name: str | None, bound: int) -> tuple[Trace, str]:
    from mkold.trace import find_trace, read_trace, shipped

    known = shipped()
    chosen = name or (DEFAULT_TRACE if DEFAULT_TRACE in known else next(iter(known), ""))
    if not chosen:
        raise UsageError("no trace: name a file (mkold record makes one)")
    path = find_trace(chosen)
    return read_trace(path, memory_bytes=bound), path.stem if chosen in known else str(path)


def _text(args: argparse.Namespace, result: RunResult) -> str:
    from mkold.view.run import run_text

    terminal = args.output is None and sys.stdout.isatty()
    colour = terminal and "NO_COLOR" not in os.environ
    encoding = "utf-8" if args.output is not None else (sys.stdout.encoding or "ascii")
    return run_text(result, colour=colour, unicode=encoding.lower().startswith("utf"))
