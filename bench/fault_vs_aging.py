"""Guest faults while the host ages the same memory without pause: what the lock costs.

    PYTHONPATH=src python bench/fault_vs_aging.py [--seconds 0.5] [--rounds 5] [--json]

Two threads. One takes guest page faults, as fast as it can, page after page of a guest of
16 GiB whose memory is resident: the whole path (memslot, host page table, ``mmu_lock``,
retry check, the entry's update). The other ages the guest over and over, 64 pages a call:
not at all (``none``), through the fast path (``lockless``), or through the slow one
(``locked``). The three take turns; faults are counted per second of CPU time of their
thread, waiting for the lock included. ``side by side`` is the share of the time that the
slower-fed of the two threads had a CPU: well below 1, the machine is busy, and the figures
say little about the lock.

To reach: lockless at least 0.9 of none.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from dataclasses import dataclass

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

PATHS = ("none", "lockless", "locked")
N_PAGES = 1 << 22  # a guest of 16 GiB
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
    """Age all pages, 64 a call, until told to stop."""
    done = 0
    start = 0
    while not READ_ONCE(count.stop):
        if locked:
            mmu_notifier_clear_young(mm, start, start + 64)
        else:
            mmu_notifier_test_clear_young(mm, start, start + 64, 1, NULL)
        done += 64
        start = (start + 64) % n_pages
    WRITE_ONCE(count.done, done)


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

    def __init__(self, image: Image) -> None:
        self.image = image
        areas = Areas(boot.BOOT_WORDS)
        node, self.mm, self.kvm = (areas.take(s.size) for s in (Node, Mm, Kvm))
        self.vcpu, subscriptions = (
            areas.take(Vcpu.size),
            areas.take(MmuNotifierSubscriptions.size),
        )
        tlb = areas.take(TlbEntry.size * TLB_ENTRIES)
        self.faults, self.ages = areas.take(Count.size), areas.take(Count.size)
        pmd, ptl = areas.take(N_PAGES // TABLE), areas.take(N_PAGES // TABLE * 8)
        tables = areas.take(N_PAGES, PAGE)
        links, folios = areas.take(64), areas.take(64 * Folio.size)
        frames = areas.take(64 * PAGE, PAGE)
        slabs = areas.take((1 << 19) + N_PAGES // TABLE * 544)
        self.memory = Memory(areas.end)
        self.call("memblock_init", slabs, areas.end)
        self.call("page_alloc_init", frames // PAGE, 64, links)
        self.call("node_init", node, folios, frames // PAGE, 64, 32)
        self.call("mm_init", self.mm, node, 0, N_PAGES)
        for name, value in (("pmd", pmd), ("ptl", ptl), ("next_table", tables)):
            self.memory.words[self.mm + Mm.offset(name)] = value
        self.call("mmu_notifier_subscriptions_init", self.mm, subscriptions)
        self.call("kvm_init")
        assert self.call("kvm_create_vm", self.kvm, self.mm) == 0
        self.call("kvm_add_memslot", self.kvm, 0, N_PAGES, 0)
        self.call("kvm_vcpu_init", self.kvm, self.vcpu, tlb)
        assert self.call("bench_map_all", self.kvm, self.vcpu, N_PAGES) == 0

    def call(self, name: str, *args: int, cpu: int = 0) -> object:
        return self.image.call(name, self.memory, cpu, *args)

    def run(self, path: str, seconds: float) -> dict[str, float]:
        """Both threads for a while; faults and aged entries per second."""
        words = self.memory.words
        counts = (self.faults, self.ages)
        spent = {}
        for count in counts:
            words[count] = 0

        def fault() -> None:
            start = time.thread_time()
            failed = self.call("bench_faults", self.kvm, self.vcpu, N_PAGES, self.faults)
            assert failed == 0
            spent["faults"] = time.thread_time() - start

        def age() -> None:
            start = time.thread_time()
            self.call("bench_age", self.mm, N_PAGES, int(path == "locked"), self.ages, cpu=1)
            spent["ages"] = time.thread_time() - start

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
        done = {"faults": int(words[self.faults + 1]), "ages": int(words[self.ages + 1])}
        rates = {name: done[name] / spent[name] for name in spent}
        return rates | {"share": min(spent.values()) / elapsed}


def bench(seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Medians by path, and the ratio to ``none``."""
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
    guest = Guest(image)
    runs = [{path: guest.run(path, seconds) for path in PATHS} for _ in range(rounds)]
    return {
        path: {
            "faults_per_s": statistics.median(run[path]["faults"] for run in runs),
            "aged_per_s": statistics.median(run[path].get("ages", 0) for run in runs),
            "side_by_side": statistics.median(run[path]["share"] for run in runs),
            "of_none": statistics.median(
                run[path]["faults"] / run["none"]["faults"] for run in runs
            ),
        }
        for path in PATHS
    }


def run() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="guest faults against aging")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = bench(options.seconds, options.rounds)
    if options.json:
        print(json.dumps({"schema": "mkold.bench.fault_vs_aging/1", "paths": rows}, indent=2))
        return
    print("aging      faults/s   of none   entries aged/s   side by side")
    for path, row in rows.items():
        print(
            f"{path:8s} {row['faults_per_s'] / 1e6:8.2f} M {row['of_none']:9.2f}"
            f" {row['aged_per_s'] / 1e6:14.1f} M"
            f" {row['side_by_side']:14.2f}"
        )


if __name__ == "__main__":
    run()
