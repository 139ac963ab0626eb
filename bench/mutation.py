"""The seeded faults: is each noticed, and what breaks?

Usage: python bench/mutation.py [WORD]     (only faults whose line holds WORD)
"""

from __future__ import annotations

import sys
from pathlib import Path

from mkold.check.decide import decide_case

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "check"))
from mutants import MUTANTS

TIMEOUT_S = 30.0


def main(argv: list[str]) -> None:
    word = argv[0] if argv else ""
    chosen = [mutant for mutant in MUTANTS if word in f"{mutant.what} {mutant.scenario.name}"]
    print("| fault | scenario | what breaks | s |")
    print("| --- | --- | --- | ---: |")
    counts = {"counterexample": 0, "holds": 0, "undecided": 0}
    for mutant in chosen:
        result = decide_case(mutant.case, timeout_s=TIMEOUT_S, show=False)
        counts[result.status] += 1
        shown = ", ".join(result.broken) or f"{result.status} {result.reason}".rstrip()
        name = mutant.scenario.name
        print(f"| {mutant.what} | {name} | {shown} | {result.cpu_s:.2f} |", flush=True)
    caught, holds, unsure = counts.values()
    print(f"\n{len(chosen)} faults: {caught} caught, {holds} harmless, {unsure} undecided")


if __name__ == "__main__":
    main(sys.argv[1:])
