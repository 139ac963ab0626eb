"""What an engine takes as programs grow: locks that queue, stacks, page tables.

    python bench/growth.py [--engine sat] [--limit 120] [--bound 16] [SUBJECT ...]

A subject is a name with its numbers, ``mcs,3`` or ``treiber,2,2``; without any, the table of
the docs. Each is decided in a process of its own, everything together: final states, flags,
data races, bounds, hangs, and an execution to show for each flag. Seconds are of the processor.
The verdict says what came of it; a subject that the engine refuses, or that takes longer than
the limit, says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from mkold.base.errors import MkoldError
from mkold.check import Scenario
from mkold.check.program import build
from mkold.lkmm import decide
from subjects import queues, stacks, tables

FINDINGS = Path(__file__).parents[1] / "docs" / "findings"


def finding(name: str) -> ModuleType:
    """The code of a finding of the docs."""
    spec = importlib.util.spec_from_file_location(name, FINDINGS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SUBJECTS: dict[str, Callable[..., Scenario]] = {
    "ticket": queues.ticket,
    "mcs": queues.mcs,
    "qspinlock": finding("qspinlock").cpus,
    "treiber": stacks.treiber,
    "llist": stacks.llist,
    "chain": stacks.chain,
    "walk": tables.walk,
    "fault": tables.fault,
}
TABLE = (
    "walk,4 walk,8 walk,16 fault,1 fault,4 ticket,3 ticket,4 ticket,5 mcs,3 mcs,4 mcs,5 "
    "qspinlock,2 qspinlock,3 qspinlock,4 treiber,2,2 treiber,3,3 llist,3 llist,4 llist,5 "
    "chain,16 chain,64"
)


def subject(text: str) -> Scenario:
    """The scenario that ``mcs,3`` names."""
    name, *numbers = text.split(",")
    return SUBJECTS[name](*map(int, numbers))


def measure(text: str, engine: str, limit_s: float, bound: int) -> str:
    """A row of the table."""
    built = build(subject(text))
    began = time.process_time()
    try:
        verdict = decide(built.program, engine=engine, witness=True, timeout_s=limit_s,
                         max_unroll=bound)  # fmt: skip
    except MkoldError as error:
        return f"| {text} | | | {str(error).splitlines()[0][:60]} |"
    seconds = time.process_time() - began
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ends = [
        built.end(dict(zip(built.program.observed, s, strict=True))) for s in verdict.states
    ]
    broken = {never.name for never in built.setup.nevers for end in ends if never.test(end)}
    wrong = ", ".join(sorted({*verdict.flags, *broken})) or "nothing wrong"
    return f"| {text} | {seconds:.2f} | {mib:.0f} | {verdict.status.value}: {wrong} |"


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subjects", nargs="*", default=TABLE.split(), metavar="SUBJECT")
    parser.add_argument("--engine", default="sat")
    parser.add_argument("--limit", type=float, default=120.0, metavar="S")
    parser.add_argument("--bound", type=int, default=16, metavar="ROUNDS")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        print(measure(args.one, args.engine, args.limit, args.bound))
        return 0
    print("| subject | s | MiB | verdict |\n| --- | ---: | ---: | --- |")
    for text in args.subjects:
        command = [sys.executable, __file__, "--one", text, "--engine", args.engine,
                   "--limit", str(args.limit), "--bound", str(args.bound)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(
            done.stdout.strip() or f"| {text} | | | {done.stderr.strip()[-80:]} |", flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
