"""How fast the lockless clear scans radix tables, against C and against memory bandwidth.

    PYTHONPATH=src python bench/scan.py [--entries 4 64] [--young 0 1 10 50 100]
                                        [--rounds 9] [--json]

Over the same tables, some percent of whose entries are young, these take turns, each after
the tables were filled anew: ``kvm_test_clear_young_hv`` (mkold); the same walk in C entry by
entry, and as one writes it who knows the machine, by vectors and a bit mask of the young
(``scan_loops.c``, gcc -O3 -march=native, the same atomics); a sum of as many words in C, the
bandwidth of reading. Without a C compiler there are mkold's own figures alone, without AVX2
no bit mask.

How to read it: GB/s of table that was scanned, by CPU time of the one thread, each the mean of
the middle half of its rounds. ``of`` columns are mkold's speed over the other's, with the
interval of 95 % from the rounds; above 1 mkold is ahead. ``=`` after it: the interval holds 1,
so no difference was seen. 64 Mi entries are 512 MiB of tables, beyond any cache; where other
programs use the memory too, all columns fall and the ratios draw near to 1.

To reach: 0.95 of the bit mask or better everywhere.
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

from mkold.ir import boot
from mkold.kvm import main
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.machine import machine
from mkold.kvm.powerpc.radix import age
from mkold.kvm.powerpc.radix.create import kvmppc_create_pte
from mkold.kvm.powerpc.radix.pte import (
    _PAGE_ACCESSED,
    _PAGE_PRESENT,
    _PAGE_PTE,
    RADIX_RPN_SHIFT,
)
from mkold.kvm.powerpc.radix.walk import radix_walk_to_table
from mkold.lang import Ptr, kernel, u64
from mkold.mm import mmu_notifier, page_alloc
from mkold.mm.mm_types import Mm
from mkold.native import Image, Memory, build
from mkold.run.interval import Ratio, ratio

TABLE = 512
SLOT = 528  # words that the slab takes for a table
YOUNG = (0.0, 1.0, 10.0, 50.0, 100.0)
SOURCE = Path(__file__).with_name("scan_loops.c")
PEERS = {"age_entries": "entries", "age_masks": "masks", "sum": "read"}


@kernel
def bench_fill(kvm: Ptr[Kvm], n: u64, threshold: u64) -> u64:
    """Make the ``n`` entries (whole tables) present, young where a hash is below
    ``threshold`` of 2**32; how many are young."""
    young = 0
    table = kvm.arch.pgtable
    for gfn in range(n):
        if gfn & (TABLE - 1) == 0:
            table, _entry, _level = radix_walk_to_table(kvm.arch.pgtable, gfn)
        hashed = (gfn * 0x9E3779B97F4A7C15) >> 32
        pte = _PAGE_PRESENT | _PAGE_PTE | 7 | (gfn << RADIX_RPN_SHIFT)
        if hashed < threshold:
            pte |= _PAGE_ACCESSED
            young += 1
        table[gfn & (TABLE - 1)] = pte
    return young


@kernel
def bench_map(kvm: Ptr[Kvm], n: u64, waits: Ptr[u64]) -> u64:
    """Make the tables of ``n`` entries; 0 if there was memory."""
    failed = 0
    for table in range(n // TABLE):
        failed |= kvmppc_create_pte(
            kvm, table * TABLE, _PAGE_PRESENT | _PAGE_PTE, 0, 0, table * TABLE, waits
        )
    return failed


class Tables:
    """A VM whose tables hold ``n`` entries."""

    def __init__(self, image: Image, n: int) -> None:
        n_words = 2_000_000 + n // TABLE * SLOT
        self.image, self.n = image, n
        self.memory = Memory(n_words)
        mm, subscriptions = boot.BOOT_WORDS, boot.BOOT_WORDS + 256
        self.kvm, waits = boot.BOOT_WORDS + 2048, boot.BOOT_WORDS + 16_000
        slabs = boot.BOOT_WORDS + 16_384
        image.call("memblock_init", self.memory, 0, slabs, n_words)
        image.call("mmu_notifier_subscriptions_init", self.memory, 0, mm, subscriptions)
        assert Mm.size < 256
        image.call("kvm_init", self.memory, 0)
        assert image.call("kvm_create_vm", self.memory, 0, self.kvm, mm) == 0
        assert image.call("bench_map", self.memory, 0, self.kvm, n, waits) == 0
        at = self.kvm + Kvm.layout.field("arch.pgtable").offset
        self.root = int(self.memory.words[at])

    def fill(self, density: float) -> int:
        """Mark entries young; how many."""
        threshold = round(density * 2**32)
        found = self.image.call("bench_fill", self.memory, 0, self.kvm, self.n, threshold)
        assert isinstance(found, int)
        return found

    def scan(self) -> int:
        """The fast path over all of it; young entries found."""
        result = self.image.call(
            "kvm_test_clear_young_hv", self.memory, 0, self.kvm, 0, self.n, 1, 0, 0
        )
        assert isinstance(result, tuple)
        assert result[0] == 0
        return result[1]


Loops = dict[str, Callable[[Tables], int]]


def compile_c(folder: Path) -> Loops:
    """The C loops; none without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return {}
    library = folder / "scan_loops.so"
    flags = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(library), str(SOURCE)], check=True)
    loaded = ctypes.CDLL(str(library))

    def loop(name: str) -> Callable[[Tables], int]:
        function = getattr(loaded, name)
        function.restype = ctypes.c_uint64

        def over(tables: Tables) -> int:
            base, n = ctypes.c_void_p(tables.memory.base), ctypes.c_uint64(tables.n)
            args = (base, n) if name == "sum" else (base, ctypes.c_uint64(tables.root), n)
            return int(function(*args))

        return over

    return {name: loop(name) for name in PEERS if hasattr(loaded, name)}


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


def bench(
    entries_mi: Sequence[int], young: Sequence[float], rounds: int
) -> list[dict[str, object]]:
    """All rows."""
    image = build(
        [
            age.kvm_test_clear_young_hv,
            main.kvm_init,
            main.kvm_create_vm,
            mmu_notifier.mmu_notifier_subscriptions_init,
            page_alloc.memblock_init,
            bench_fill,
            bench_map,
        ],
        hooks=machine.hooks,
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        loops = compile_c(Path(folder))
        for mi in entries_mi:
            tables = Tables(image, mi << 20)
            rows += [measure(tables, percent / 100, rounds, loops) for percent in young]
    return rows


def shown(row: dict[str, Any]) -> str:
    """One line of the table."""
    speeds = [f"{row['gb_per_s'].get(name, math.nan):8.1f}" for name in ("mkold", *PEERS)]
    found = []
    for name in PEERS:
        of = Ratio(**row["mkold_of"][name]) if name in row["mkold_of"] else Ratio(math.nan)
        among = "" if of.low is None else f" [{of.low:.2f}, {of.high:.2f}]"
        found.append(f"{of.value:.2f}{among}{'' if of.seen else '='}".rjust(20))
    head = f"{row['entries'] >> 20:4d} Mi {row['young_percent']:5.0f} %"
    return " ".join([head, *speeds, *found])


def run() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="scan speed of the fast path")
    parser.add_argument("--entries", type=int, nargs="+", default=[4, 64], metavar="MI")
    parser.add_argument("--young", type=float, nargs="+", default=YOUNG, metavar="PERCENT")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = bench(options.entries, options.young, options.rounds)
    if options.json:
        print(json.dumps({"schema": "mkold.bench.scan/2", "rows": rows}, indent=2))
        return
    heads = ("mkold", *PEERS.values())
    speeds = " ".join(head.rjust(8) for head in heads)
    ratios = " ".join(f"of {head}".rjust(20) for head in heads[1:])
    print(f"entries   young {speeds} {ratios}")
    for row in rows:
        print(shown(row))


if __name__ == "__main__":
    run()
