"""How fast a pass of aging goes over its tables, against C and against memory bandwidth.

    PYTHONPATH=src python bench/scan.py [--subject powerpc ...] [--entries 4 64]
                                        [--young 0 1 10 50 100] [--rounds 9] [--json]

Over the same entries, some percent of which are young, these take turns, each after the
entries were filled anew: mkold's pass (of the radix tree: ``kvm_test_clear_young_hv``); the
same in C (the subject's ``.c`` in ``bench/aging``, gcc -O3 -march=native, the same atomics),
for the radix tree entry by entry, and as one writes it who knows the machine, by vectors and a
bit mask of the young, and a sum of as many words, the bandwidth of reading. Without a C
compiler there are mkold's own figures alone, without AVX2 no bit mask.

How to read it: GB/s of entries (8 bytes each) that were scanned, by CPU time of the one
thread, each the mean of the middle half of its rounds. ``of`` columns are mkold's speed over
the other's, with the interval of 95 % from the rounds; above 1 mkold is ahead. ``=`` after it:
the interval holds 1, so no difference was seen. 64 Mi entries of a radix tree are 512 MiB of
tables, beyond any cache; where other programs use the memory too, all columns fall and the
ratios draw near to 1.

To reach: 0.95 of the bit mask or better everywhere; 0.9 of the C loop where lists are walked.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aging.subject import Scan, Subject, add_option
from aging.table import SUBJECTS
from mkold.ir.boot import BOOT_WORDS
from mkold.kvm import main
from mkold.mm import mmu_notifier, page_alloc
from mkold.mm.mm_types import Mm
from mkold.mm.mmu_notifier import MmuNotifierSubscriptions
from mkold.native import Image, Memory, build
from mkold.run.interval import Ratio, ratio
from mkold.run.layout import Layout, Place

YOUNG = (0.0, 1.0, 10.0, 50.0, 100.0)


class Tables:
    """A VM of a subject that has ``n`` entries."""

    def __init__(self, image: Image, subject: Subject, scan: Scan, n: int) -> None:
        self.image, self.how, self.n = image, scan, n
        layout = Layout(BOOT_WORDS)
        mm, subscriptions = layout.struct(Mm), layout.struct(MmuNotifierSubscriptions)
        self.kvm = layout.struct(subject.arch.kvm)
        slabs = layout.area(scan.words(n))
        self.memory = Memory(layout.end)
        self.call("memblock_init", slabs, layout.end)
        self.call("mmu_notifier_subscriptions_init", mm, subscriptions)
        self.call("kvm_init")
        assert self.call("kvm_create_vm", self.kvm, mm) == 0
        assert self.call(scan.map.name, self.kvm, n) == 0, "no memory"
        roots = scan.roots(Place(self.memory.words, self.kvm, subject.arch.kvm))
        self.roots = (ctypes.c_uint64 * len(roots))(*roots)

    def call(self, name: str, *args: int) -> int:
        result = self.image.call(name, self.memory, 0, *args)
        return result if isinstance(result, int) else 0

    def fill(self, density: float) -> int:
        """Mark entries young; how many."""
        return self.call(self.how.fill.name, self.kvm, self.n, round(density * 2**32))

    def scan(self) -> int:
        """The pass over all of it; young entries found."""
        return self.call(self.how.scan.name, self.kvm, self.n)


Loops = dict[str, Callable[[Tables], int]]


def compile_c(scan: Scan, folder: Path) -> Loops:
    """The C loops; none without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return {}
    library = folder / f"{scan.source.stem}{len(list(folder.iterdir()))}.so"
    flags = ["-O3", "-march=native", "-shared", "-fPIC", *scan.flags]
    subprocess.run([compiler, *flags, "-o", str(library), str(scan.source)], check=True)
    loaded = ctypes.CDLL(str(library))

    def loop(name: str) -> Callable[[Tables], int]:
        function = getattr(loaded, name)
        function.restype = ctypes.c_uint64

        def over(tables: Tables) -> int:
            base, n = ctypes.c_void_p(tables.memory.base), ctypes.c_uint64(tables.n)
            return int(function(base, tables.roots, n))

        return over

    return {name: loop(name) for name in scan.peers if hasattr(loaded, name)}


def timed(action: Callable[[Tables], int], tables: Tables) -> tuple[float, int]:
    """CPU seconds of this thread, and the result."""
    start = time.thread_time()
    result = action(tables)
    return time.thread_time() - start, result


def measure(tables: Tables, density: float, rounds: int, loops: Loops) -> dict[str, object]:
    """One row: speeds, and mkold's over the others', at one density."""
    ways: Loops = {"mkold": Tables.scan, **loops}
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            n_young = tables.fill(density)
            spent, found = timed(ways[name], tables)
            assert name == "sum" or found == n_young
            seconds[name].append(spent)

    def gb_per_s(some: Sequence[float]) -> float:
        ordered = sorted(some)
        cut = len(ordered) // 4
        return tables.n * 8 / statistics.fmean(ordered[cut : len(ordered) - cut]) / 1e9

    return {
        "entries": tables.n,
        "young_percent": density * 100,
        "gb_per_s": {name: gb_per_s(some) for name, some in seconds.items()},
        "mkold_of": {
            name: asdict(found)
            for name in loops
            if (found := ratio(gb_per_s, seconds["mkold"], seconds[name])) is not None
        },
    }


def image_of(subject: Subject, scan: Scan) -> Image:
    """The pass, and what makes a VM for it."""
    return build(
        [
            main.kvm_init, main.kvm_create_vm, mmu_notifier.mmu_notifier_subscriptions_init,
            page_alloc.memblock_init, scan.map, scan.fill, scan.scan,
        ],
        scan.parameters,
        hooks=subject.arch.hooks,
    )  # fmt: skip


def bench(
    subject: Subject,
    scan: Scan,
    entries_mi: Sequence[float],
    young: Sequence[float],
    rounds: int,
) -> list[dict[str, object]]:
    """All rows of a subject."""
    image = image_of(subject, scan)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        loops = compile_c(scan, Path(folder))
        for mi in entries_mi:
            tables = Tables(image, subject, scan, int(mi * (1 << 20)))
            for percent in young:
                row = measure(tables, percent / 100, rounds, loops)
                rows.append({"subject": subject.name} | row)
    return rows


def shown(row: dict[str, Any], peers: Sequence[str]) -> str:
    """One line of the table."""
    speeds = [f"{row['gb_per_s'].get(name, math.nan):8.2f}" for name in ("mkold", *peers)]
    found = []
    for name in peers:
        of = Ratio(**row["mkold_of"][name]) if name in row["mkold_of"] else Ratio(math.nan)
        among = "" if of.low is None else f" [{of.low:.2f}, {of.high:.2f}]"
        found.append(f"{of.value:.2f}{among}{'' if of.seen else '='}".rjust(20))
    head = f"{row['entries'] / (1 << 20):4g} Mi {row['young_percent']:5.0f} %"
    return " ".join([head, *speeds, *found])


def show(subject: Subject, scan: Scan, rows: Sequence[dict[str, Any]]) -> None:
    """The table of one subject."""
    print(f"{subject.name}: {subject.sentence}")
    heads = ("mkold", *scan.peers.values())
    speeds = " ".join(head.rjust(8) for head in heads)
    ratios = " ".join(f"of {head}".rjust(20) for head in heads[1:])
    print(f"entries   young {speeds} {ratios}")
    for row in rows:
        print(shown(row, list(scan.peers)), flush=True)


def run() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="scan speed of aging")
    add_option(parser, {k: v for k, v in SUBJECTS.items() if v.scan}, "powerpc")
    parser.add_argument("--entries", type=float, nargs="+", default=[4, 64], metavar="MI")
    parser.add_argument("--young", type=float, nargs="+", default=YOUNG, metavar="PERCENT")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    all_rows = []
    for name in options.subject:
        subject = SUBJECTS[name]
        assert subject.scan is not None
        rows = bench(subject, subject.scan, options.entries, options.young, options.rounds)
        all_rows += rows
        if not options.json:
            show(subject, subject.scan, rows)
    if options.json:
        print(json.dumps({"schema": "mkold.bench.scan/3", "rows": all_rows}, indent=2))


if __name__ == "__main__":
    run()
