"""Processor time of one command by two installed versions, run in turns.

    python bench/versions.py OLD/bin/mkold NEW/bin/mkold [--runs 4] -- litmus DIR --jobs 1

Each version runs as often, and which comes first alternates. Printed are the seconds of all
runs, start-up and workers included, and the ratio of the least: NEW over OLD.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys


def seconds(command: list[str]) -> float:
    """Processor time that ``command`` and what it started took; what it prints is dropped."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--runs", type=int, default=4, metavar="N")
    parser.add_argument("arguments", nargs="+", help="what to run, after --")
    args = parser.parse_args(argv)
    found: dict[str, list[float]] = {args.old: [], args.new: []}
    for turn in range(args.runs):
        for program in (args.old, args.new)[:: -1 if turn % 2 else 1]:
            found[program].append(seconds([program, *args.arguments]))
    for program, times in found.items():
        print(f"{program}: {' '.join(f'{s:.2f}' for s in times)}")
    print(f"ratio of the least: {min(found[args.new]) / min(found[args.old]):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
