"""How fast the lockless clear scans radix tables, against C and against memory bandwidth.

    PYTHONPATH=src python bench/scan.py [--entries 4 64] [--rounds 5] [--json]

For 4 Mi and 64 Mi entries (512 MiB of tables) and 0, 1, 10 and 100 % of them young, three
ways to go over the same tables take turns: ``kvm_test_clear_young_hv``, the same walk
with a loop entry by entry in C (gcc -O3 -march=native, the same atomics), and a plain sum
of as many words in C (the machine's sequential read bandwidth). Times are CPU time of the
one thread; medians over rounds; ratios are medians of the rounds' ratios.

To reach: at least 0.95 of the C loop at every density, and 0.8 of the read bandwidth at
0 % and 1 % young over 512 MiB. Without a C compiler only mkold's own figures are printed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

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

TABLE = 512
SLOT = 528  # words that the slab takes for a table
DENSITIES = (0.0, 0.01, 0.1, 1.0)

C_SOURCE = r"""
#include <stdint.h>
#define PRESENT (1ull << 63)
#define LEAF (1ull << 62)
#define R 0x100ull
static uint64_t *below(uint64_t *mem, uint64_t entry)
{ return mem + ((entry & ((1ull << 62) - 256)) >> 8); }
uint64_t age(uint64_t *mem, uint64_t root, uint64_t gfn, uint64_t end)
{
    uint64_t young = 0;
    while (gfn < end) {
        uint64_t *t = mem + root;
        uint64_t e = __atomic_load_n(&t[gfn >> 27], __ATOMIC_RELAXED);
        t = below(mem, e);
        e = __atomic_load_n(&t[gfn >> 18 & 511], __ATOMIC_RELAXED);
        t = below(mem, e);
        e = __atomic_load_n(&t[gfn >> 9 & 511], __ATOMIC_RELAXED);
        t = below(mem, e);
        for (int i = 0; i < 512; i++) {
            uint64_t pte = __atomic_load_n(&t[i], __ATOMIC_RELAXED);
            if ((pte & (PRESENT | R)) == (PRESENT | R)) {
                young++;
                __atomic_compare_exchange_n(&t[i], &pte, pte & ~R, 0, __ATOMIC_SEQ_CST,
                                            __ATOMIC_RELAXED);
            }
        }
        gfn += 512;
    }
    return young;
}
uint64_t sum(const uint64_t *p, uint64_t n)
{
    uint64_t s = 0;
    for (uint64_t i = 0; i < n; i++)
        s += p[i];
    return s;
}
"""


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


def compile_c(folder: Path) -> ctypes.CDLL | None:
    """The C loops, or ``None`` without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    source, library = folder / "scan.c", folder / "scan.so"
    source.write_text(C_SOURCE)
    flags = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=True)
    loaded = ctypes.CDLL(str(library))
    for name in ("age", "sum"):
        getattr(loaded, name).restype = ctypes.c_uint64
    return loaded


def timed(action: Callable[[], int]) -> tuple[float, int]:
    """CPU seconds of this thread, and the result."""
    start = time.thread_time()
    result = action()
    return time.thread_time() - start, result


def measure(tables: Tables, density: float, rounds: int, c: ctypes.CDLL | None) -> dict:
    """One row: medians and ratios at one density."""
    base, root, n, zero = (
        ctypes.c_void_p(tables.memory.base),
        *map(ctypes.c_uint64, (tables.root, tables.n, 0)),
    )
    ours: list[float] = []
    theirs: list[float] = []
    reads: list[float] = []
    for _ in range(rounds):
        n_young = tables.fill(density)
        seconds, found = timed(tables.scan)
        assert found == n_young
        ours.append(seconds)
        if c is None:
            continue
        tables.fill(density)
        seconds, found = timed(partial(c.age, base, root, zero, n))
        assert found == n_young
        theirs.append(seconds)
        reads.append(timed(partial(c.sum, base, n))[0])
    row = {
        "entries": tables.n,
        "young_percent": density * 100,
        "ns_per_entry": statistics.median(ours) / tables.n * 1e9,
        "gb_per_s": tables.n * 8 / statistics.median(ours) / 1e9,
    }
    if c is not None:
        row["read_gb_per_s"] = tables.n * 8 / statistics.median(reads) / 1e9
        row["of_c_loop"] = statistics.median(t / o for t, o in zip(theirs, ours, strict=True))
        row["of_read_bandwidth"] = statistics.median(
            r / o for r, o in zip(reads, ours, strict=True)
        )
    return row


def bench(entries_mi: list[int], rounds: int) -> list[dict]:
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
        c = compile_c(Path(folder))
        for mi in entries_mi:
            tables = Tables(image, mi << 20)
            rows += [measure(tables, density, rounds, c) for density in DENSITIES]
    return rows


def run() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="scan speed of the fast path")
    parser.add_argument("--entries", type=int, nargs="+", default=[4, 64], metavar="MI")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = bench(options.entries, options.rounds)
    if options.json:
        print(json.dumps({"schema": "mkold.bench.scan/1", "rows": rows}, indent=2))
        return
    print("entries  young   ns/entry   GB/s   read GB/s   of C loop   of read bandwidth")
    for row in rows:
        compared = ""
        if "of_c_loop" in row:
            compared = (
                f"{row['read_gb_per_s']:9.1f}   {row['of_c_loop']:9.2f}"
                f"   {row['of_read_bandwidth']:17.2f}"
            )
        print(
            f"{row['entries'] >> 20:4d} Mi {row['young_percent']:5.0f}%"
            f" {row['ns_per_entry']:10.2f} {row['gb_per_s']:6.1f}   {compared}"
        )


if __name__ == "__main__":
    run()
