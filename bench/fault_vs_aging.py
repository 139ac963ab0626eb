"""Guest faults while the host ages the same memory: what the lock costs.

    PYTHONPATH=src python bench/fault_vs_aging.py [--pages 4194304] [--interval 0]
                                    [--seconds 0.5] [--rounds 9] [--json]

Two threads. One takes guest page faults, as fast as it can, page after page of a guest whose
memory is resident: the whole path (memslot, host page table, ``mmu_lock``, retry check, the
entry's update). The other ages all of the guest, 64 pages a call, and sleeps for ``--interval``
milliseconds between two passes: not at all (``none``), through the fast path (``lockless``),
or through the slow one (``locked``). The three take turns, each first in a third of the rounds.

How to read it: faults are counted per second of CPU time of their thread, waiting for the lock
included; a speed is the mean of the middle half of its rounds. ``of none`` is the quotient of
two speeds, with the interval of 95 % from the rounds; ``=`` after it: the interval holds 1, so
no difference was seen. ``aged/s`` counts entries per second of CPU time of the other thread,
``pass`` is that time a pass. ``side by side`` is the share of the time in which the fault
thread, and without pauses the slower-fed of the two, had a CPU: well below 1, the machine is
busy, and the figures say little about the lock.

To reach: lockless at least 0.95 of none, also with ``--pages 500000 --interval 1``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mkold.ir import boot
from mkold.kvm import main, memslots, vcpu
from mkold.kvm.powerpc.asm.kvm_host import Kvm
from mkold.kvm.powerpc.machine import machine
from mkold.kvm.powerpc.radix.fault import kvmppc_book3s_radix_page_fault
from mkold.kvm.types import TlbEntry, Vcpu
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Array, Ptr, Struct, kernel, u64
from mkold.mm import mm_init, mmu_notifier, page_alloc
from mkold.mm.mm_types import Folio, Mm, Node
from mkold.mm.mmu_notifier import (
    MmuNotifierSubscriptions,
    mmu_notifier_clear_young,
    mmu_notifier_test_clear_young,
)
from mkold.native import Image, Memory, build
from mkold.run.interval import Ratio, ratio

PATHS = ("none", "lockless", "locked")
PAGE = 512
TABLE = 512
TLB_ENTRIES = 1024


class Count(Struct):
    """What one thread did; ``stop`` ends it."""

    stop: u64
    done: u64
    pad: Array[u64, 6]


@kernel
def bench_faults(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_pages: u64, count: Ptr[Count]) -> u64:
    """Take faults on ``n_pages`` guest pages in order until told to stop; failures."""
    failed = 0
    done = 0
    while not READ_ONCE(count.stop):
        failed += kvmppc_book3s_radix_page_fault(kvm, vcpu, done % n_pages, 0)
        done += 1
    WRITE_ONCE(count.done, done)
    return failed


@kernel
def bench_map_all(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_pages: u64) -> u64:
    """One fault on each page; failures."""
    failed = 0
    for gfn in range(n_pages):
        failed += kvmppc_book3s_radix_page_fault(kvm, vcpu, gfn, 0)
    return failed


@kernel
def bench_age(mm: Ptr[Mm], n_pages: u64, locked: u64, count: Ptr[Count]) -> None:
    """Age all pages once, 64 a call, unless told to stop."""
    start = 0
    while start < n_pages and not READ_ONCE(count.stop):
        end = min(start + 64, n_pages)
        if locked:
            mmu_notifier_clear_young(mm, start, end)
        else:
            mmu_notifier_test_clear_young(mm, start, end, 1, NULL)
        start = end
    WRITE_ONCE(count.done, count.done + start)


@dataclass
class Areas:
    """Hands out addresses."""

    end: int

    def take(self, n: int, align: int = 8) -> int:
        at = -(-self.end // align) * align
        self.end = at + n
        return at


class Guest:
    """A booted VM whose pages are all resident (they map the host's zero page)."""

    def __init__(self, image: Image, n_pages: int) -> None:
        self.image, self.n_pages = image, n_pages
        n_tables = -(-n_pages // TABLE)
        areas = Areas(boot.BOOT_WORDS)
        node, self.mm, self.kvm = (areas.take(s.size) for s in (Node, Mm, Kvm))
        self.vcpu, subscriptions = (
            areas.take(Vcpu.size),
            areas.take(MmuNotifierSubscriptions.size),
        )
        tlb = areas.take(TlbEntry.size * TLB_ENTRIES)
        self.faults, self.ages = areas.take(Count.size), areas.take(Count.size)
        pmd, ptl = areas.take(n_tables), areas.take(n_tables * 8)
        tables = areas.take(n_tables * TABLE, PAGE)
        links, folios = areas.take(64), areas.take(64 * Folio.size)
        frames = areas.take(64 * PAGE, PAGE)
        slabs = areas.take((1 << 19) + n_tables * 544)
        self.memory = Memory(areas.end)
        self.call("memblock_init", slabs, areas.end)
        self.call("page_alloc_init", frames // PAGE, 64, links)
        self.call("node_init", node, folios, frames // PAGE, 64, 32)
        self.call("mm_init", self.mm, node, 0, n_pages)
        for name, value in (("pmd", pmd), ("ptl", ptl), ("next_table", tables)):
            self.memory.words[self.mm + Mm.offset(name)] = value
        self.call("mmu_notifier_subscriptions_init", self.mm, subscriptions)
        self.call("kvm_init")
        assert self.call("kvm_create_vm", self.kvm, self.mm) == 0
        self.call("kvm_add_memslot", self.kvm, 0, n_pages, 0)
        self.call("kvm_vcpu_init", self.kvm, self.vcpu, tlb)
        assert self.call("bench_map_all", self.kvm, self.vcpu, n_pages) == 0

    def call(self, name: str, *args: int, cpu: int = 0) -> object:
        return self.image.call(name, self.memory, cpu, *args)

    def run(self, path: str, seconds: float, interval: float) -> dict[str, float]:
        """Both threads for a while; what they did, and their CPU seconds.

        ``interval`` is in seconds.
        """
        words, counts = self.memory.words, (self.faults, self.ages)
        spent = {"fault_seconds": 0.0, "age_seconds": 0.0}
        for count in counts:
            words[count] = words[count + 1] = 0

        def fault() -> None:
            start = time.thread_time()
            failed = self.call("bench_faults", self.kvm, self.vcpu, self.n_pages, self.faults)
            assert failed == 0
            spent["fault_seconds"] = time.thread_time() - start

        def age() -> None:
            start, locked = time.thread_time(), int(path == "locked")
            while not words[self.ages]:
                self.call("bench_age", self.mm, self.n_pages, locked, self.ages, cpu=1)
                time.sleep(interval)
            spent["age_seconds"] = time.thread_time() - start

        threads = [threading.Thread(target=fault)]
        if path != "none":
            threads.append(threading.Thread(target=age))
        for thread in threads:
            thread.start()
        began = time.perf_counter()
        time.sleep(seconds)
        for count in counts:
            words[count] = 1
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
        fed = [spent["fault_seconds"]]
        if path != "none" and not interval:
            fed.append(spent["age_seconds"])
        done = {"faults": float(words[self.faults + 1]), "aged": float(words[self.ages + 1])}
        return done | spent | {"share": min(fed) / elapsed}


Runs = Sequence[dict[str, float]]


def middle(values: Sequence[float]) -> float:
    """The mean of the middle half."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def faults_per_s(runs: Runs) -> float:
    """Faults a second of their thread's CPU time."""
    return middle([run["faults"] / run["fault_seconds"] for run in runs])


def summary(runs: Runs, base: Runs, n_pages: int) -> dict[str, Any]:
    """One path's line; ``base``: the same turns with no aging."""
    aged, seconds = (sum(run[name] for run in runs) for name in ("aged", "age_seconds"))
    of_none = ratio(faults_per_s, runs, base)
    return {
        "faults_per_s": faults_per_s(runs),
        "of_none": None if of_none is None else asdict(of_none),
        "aged_per_s": aged / seconds if seconds else 0.0,
        "pass_ms": seconds / aged * n_pages * 1e3 if aged else 0.0,
        "side_by_side": statistics.median(run["share"] for run in runs),
    }


def bench(n_pages: int, interval: float, seconds: float, rounds: int) -> dict[str, Any]:
    """A summary by path."""
    image = build(
        [
            page_alloc.memblock_init, page_alloc.page_alloc_init, mm_init.node_init,
            mm_init.mm_init, mmu_notifier.mmu_notifier_subscriptions_init, main.kvm_init,
            main.kvm_create_vm,
            memslots.kvm_add_memslot, vcpu.kvm_vcpu_init, bench_faults, bench_map_all,
            bench_age,
        ],
        hooks=machine.hooks,
    )  # fmt: skip
    guest = Guest(image, n_pages)
    runs: dict[str, list[dict[str, float]]] = {path: [] for path in PATHS}
    for turn in range(rounds):
        first = turn % len(PATHS)
        for path in PATHS[first:] + PATHS[:first]:
            runs[path].append(guest.run(path, seconds, interval))
    return {path: summary(runs[path], runs["none"], n_pages) for path in PATHS}


def run() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="guest faults against aging")
    parser.add_argument("--pages", type=int, default=1 << 22, help="default: 16 GiB")
    parser.add_argument(
        "--interval", type=float, default=0, metavar="MS", help="pause between passes"
    )
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = bench(options.pages, options.interval / 1e3, options.seconds, options.rounds)
    if options.json:
        print(json.dumps({"schema": "mkold.bench.fault_vs_aging/2", "paths": rows}, indent=2))
        return
    print("aging      faults/s                of none      aged/s       pass   side by side")
    for path, row in rows.items():
        of = Ratio(**row["of_none"])
        among = "" if of.low is None else f" [{of.low:.3f}, {of.high:.3f}]"
        print(
            f"{path:8s} {row['faults_per_s'] / 1e6:8.2f} M"
            f" {f'{of.value:.3f}{among}' + ('' if of.seen else '='):>22s}"
            f" {row['aged_per_s'] / 1e6:9.1f} M {row['pass_ms']:7.1f} ms"
            f" {row['side_by_side']:14.2f}"
        )


if __name__ == "__main__":
    run()
