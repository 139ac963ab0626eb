"""Does the default run say the same each time? ``bench/sentence.py [--repeats 10] [--busy 2]``

Runs ``mkold run --json`` again and again, with ``--busy`` processes that compute beside it, and
prints each sentence with how often it came, and the intervals it rests on. A minute a repeat.
To reach: one sentence.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from typing import Any

FIGURES = ("guest_accesses_per_s", "aging_pass_ms", "aging_core_share")


def busy(n: int) -> list[subprocess.Popen[bytes]]:
    """Processes that never rest."""
    return [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]


def repeat(options: list[str]) -> dict[str, Any]:
    """One default run."""
    command = [sys.executable, "-m", "mkold", "run", "--json", *options]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(found.stdout)
    return result


def ratios(result: dict[str, Any]) -> list[str]:
    """Lockless over locked, with intervals."""
    return [
        f"    {guest['trace']['name']:8} {c['figure']:22} {c['ratio']:.2f}"
        f" ({c['low'] or 0:.2f} to {c['high'] or 0:.2f})"
        for guest in result["guests"]
        for c in guest["comparisons"]
        if c["figure"] in FIGURES and (c["path"], c["base"]) == ("lockless", "locked")
    ]


def main() -> None:
    """Repeat, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--busy", type=int, default=2)
    args, options = parser.parse_known_args()
    said: Counter[str] = Counter()
    others = busy(args.busy)
    try:
        for number in range(args.repeats):
            result = repeat(options)
            said[result["found"]] += 1
            print(f"{number + 1}: {result['found']}", *ratios(result), sep="\n", flush=True)
    finally:
        for process in others:
            process.kill()
    print(f"{len(said)} sentence{'s' if len(said) > 1 else ''} in {args.repeats} runs")


if __name__ == "__main__":
    main()
