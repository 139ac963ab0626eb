"""A differential campaign: the engines held together on random programs.

    python bench/differential.py [--kind kernel litmus] [--seed 1] [--start 0] [--n 1000]
                                 [--jobs 1] [--only NUMBER]

Programs are made by kind, seed and number, so ``--start`` goes on where a run ended, and
``--only`` makes one again. Each difference is printed with the least program that still
shows it. What is compared: docs/differential.md.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from campaign.compare import Compared, compare
from campaign.sample import Sample, of_tree, sample
from campaign.shrink import shrunk
from campaign.themes import KINDS
from campaign.tree import Tree
from mkold.base.errors import InputError

THOROUGH = 100  # every so many goes through mkold.check and onto real threads too
REPORT = 500


@dataclass(frozen=True, slots=True)
class Row:
    """Of one program: what differed, the least source that shows it, what was compared."""

    name: str
    differences: tuple[str, ...]
    source: str
    counts: Counter[str]


def one(number: int, *, kind: str, seed: int) -> Row:
    """Compare program ``number``; never raises."""
    try:
        made = sample(kind, seed, number)
    except InputError as error:
        return Row(f"{kind}-{seed}-{number}", (), "", Counter({f"no program: {error}"[:70]: 1}))
    found = _compared(made, number)
    if not found.differences:
        return Row(made.name, (), "", found.counts)
    what = {_kind_of(text) for text in found.differences}
    least = shrunk(made.tree, partial(_differs, made=made, what=what))
    shown = of_tree(kind, made.name, least)
    lines = [*found.differences, "least:", *_compared(shown, 0).differences]
    return Row(made.name, tuple(lines), shown.source, found.counts)


def _compared(made: Sample, number: int) -> Compared:
    try:
        return compare(made, thorough=number % THOROUGH == 0)
    except Exception as error:
        return Compared([f"{type(error).__name__}: {error}"])


def _kind_of(difference: str) -> str:
    return difference.split(":")[0]


def _differs(tree: Tree, *, made: Sample, what: set[str]) -> bool:
    """Whether the tree shows a difference of the same kind."""
    try:
        smaller = of_tree(made.kind, made.name, tree)
    except Exception:
        return False  # no program any more
    return not what.isdisjoint(map(_kind_of, _compared(smaller, 0).differences))


def run(kind: str, seed: int, numbers: Iterable[int], jobs: int) -> tuple[Counter[str], int]:
    """Compare programs, print what differs; counts, and how many differed."""
    total: Counter[str] = Counter()
    different, began = 0, time.monotonic()
    work = partial(one, kind=kind, seed=seed)
    with ExitStack() as stack:
        rows: Iterable[Row] = map(work, numbers)
        if jobs > 1:
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(jobs))
            rows = pool.imap(work, numbers, chunksize=8)
        for row in rows:
            total["programs"] += 1
            total.update(row.counts)
            if row.differences:
                different += 1
                said = f"DIFFERENT {row.name}", *row.differences, row.source
                print("\n".join(said), flush=True)
            if total["programs"] % REPORT == 0:
                seconds = time.monotonic() - began
                print(f"{row.name}: {total['programs']} programs, {different} different, "
                      f"{seconds:.0f} s", flush=True)  # fmt: skip
    return total, different


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description="Engines against each other.")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    gc.set_threshold(100_000)  # graphs of programs are large and short-lived
    numbers = range(given.start, given.start + given.n)
    if given.only is not None:
        numbers = range(given.only, given.only + 1)
    different = 0
    for kind in given.kind:
        counts, here = run(kind, given.seed, numbers, given.jobs)
        different += here
        print(f"\n{kind}, seed {given.seed}, from {numbers.start}:")
        for what, n in sorted(counts.items()):
            print(f"{n:8} {what}")
        print(f"{here:8} different", flush=True)
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
