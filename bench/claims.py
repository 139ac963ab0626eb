"""The shipped claims with their verdicts and times, as a table for docs/check.md.

Usage: python bench/claims.py [CLAIM...]
"""

from __future__ import annotations

import sys

from mkold.check import load
from mkold.check.decide import decide_claim


def main(wanted: list[str]) -> None:
    print("| claim | verdict | cases | most threads | s |\n| --- | --- | ---: | ---: | ---: |")
    total = 0.0
    for claim in load.select(load.shipped(), wanted):
        result = decide_claim(claim)
        seconds = sum(case.cpu_s for case in result.cases)
        threads = max(case.n_threads for case in result.cases)
        n_cases = len(result.cases)
        row = f"| {claim.name} | {result.verdict} | {n_cases} | {threads} | {seconds:.2f} |"
        print(row, flush=True)
        total += seconds
    print(f"\n{total:.1f} s of processor time")


if __name__ == "__main__":
    main(sys.argv[1:])
