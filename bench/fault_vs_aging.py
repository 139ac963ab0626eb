"""Guest faults while the host ages the same memory: what the lock costs.

    PYTHONPATH=src python bench/fault_vs_aging.py [--subject powerpc ...] [--pages 4194304]
                             [--interval 0] [--seconds 0.5] [--rounds 9] [--json]

Two threads, each on a CPU of its own. One takes guest page faults, as fast as it can, page
after page of a guest whose memory is resident: the whole path (of the radix tree: memslot, host
page table, ``mmu_lock``, retry check, the entry's update; ``bench/aging`` says it of the other
subjects). The other goes over all of the guest again and again, with a sleep of ``--interval``
milliseconds between two passes. What it does takes turns:

none       nothing
reading    reads one entry of each cache line of entries, which is the least any aging does
lockless   ages through the fast path, 64 pages a call
locked     ages through the slow path, 64 pages a call

How to read it: faults are counted per second of CPU time of their thread, waiting for the lock
included; a speed is the mean of the middle half of its rounds. ``of none`` and ``of reading``
are quotients of two speeds, with the interval of 95 % from the rounds; ``=`` after one: the
interval holds 1, so no difference was seen. ``pass`` is CPU time of the other thread.
``side by side`` is the share of the time in which the fault thread, and without pauses the
slower-fed of the two, had a CPU; well below 1, the machine is busy.

``reading`` says what it costs the faults that another CPU looks at the same entries at all:
nothing on a machine with no other work, up to a quarter where more programs run than CPUs.
``of reading`` is then what the aging itself costs.

To reach: lockless at least 0.95 of none, and of reading where reading is below that.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aging.subject import Count, Faults, Subject, add_option, bench_fault
from aging.table import SUBJECTS
from mkold.ir.boot import BOOT_WORDS
from mkold.kvm import main, memslots, vcpu
from mkold.kvm.types import Kvm, TlbEntry, Vcpu
from mkold.lang import NULL, READ_ONCE, WRITE_ONCE, Ptr, kernel, u64
from mkold.mm import mm_init, mmu_notifier, page_alloc
from mkold.mm.mm_types import Folio, Mm, Node
from mkold.mm.mmu_notifier import (
    MmuNotifierSubscriptions,
    mmu_notifier_clear_young,
    mmu_notifier_test_clear_young,
)
from mkold.native import Image, Memory, build
from mkold.run.interval import Ratio, ratio
from mkold.run.layout import Layout

PAGE = 512  # words
TABLE = 512
TLB_ENTRIES = 1024
SPARE_FRAMES = 64


@kernel
def bench_faults(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_pages: u64, count: Ptr[Count]) -> u64:
    """Take faults on ``n_pages`` guest pages in order until told to stop; failures."""
    failed = 0
    done = 0
    while not READ_ONCE(count.stop):
        failed += bench_fault(kvm, vcpu, done % n_pages)
        done += 1
    WRITE_ONCE(count.done, done)
    return failed


@kernel
def bench_map_all(kvm: Ptr[Kvm], vcpu: Ptr[Vcpu], n_pages: u64) -> u64:
    """One fault on each page; failures."""
    failed = 0
    for page in range(n_pages):
        failed += bench_fault(kvm, vcpu, page)
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


def pin(which: int) -> None:
    """Keep the calling thread on one CPU, where the system can and has enough of them."""
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(os.getpid()))
        if len(cpus) > which:
            os.sched_setaffinity(0, {cpus[which]})


class Guest:
    """A booted VM whose guest's pages are all resident (they map the host's zero page)."""

    def __init__(self, image: Image, subject: Subject, how: Faults, n_pages: int) -> None:
        self.image, self.how, self.n_pages = image, how, n_pages
        own_pages = how.own_pages(n_pages)
        self.vm_pages = own_pages + n_pages
        n_tables, n_frames = -(-self.vm_pages // TABLE), SPARE_FRAMES + own_pages
        layout = Layout(BOOT_WORDS)
        node, self.mm, self.kvm, self.vcpu, subscriptions, self.faults, self.ages = (
            layout.struct(kind)
            for kind in (
                Node, Mm, subject.arch.kvm, subject.arch.vcpu, MmuNotifierSubscriptions,
                Count, Count,
            )
        )  # fmt: skip
        tlb = layout.area(TlbEntry.size * TLB_ENTRIES)
        pmd, ptl = layout.area(n_tables), layout.area(n_tables * 8)
        tables = layout.area(n_tables * TABLE, PAGE)
        links, folios = layout.area(n_frames), layout.area(n_frames * Folio.size)
        frames = layout.area(n_frames * PAGE, PAGE)
        slabs = layout.area(how.words(self.vm_pages))
        self.memory = Memory(layout.end)
        self.call("memblock_init", slabs, layout.end)
        self.call("page_alloc_init", frames // PAGE, n_frames, links)
        self.call(
            "node_init", node, folios, frames // PAGE, n_frames, n_frames // 2 + own_pages
        )
        self.call("mm_init", self.mm, node, 0, self.vm_pages)
        for name, value in (("pmd", pmd), ("ptl", ptl), ("next_table", tables)):
            self.memory.words[self.mm + Mm.offset(name)] = value
        self.call("mmu_notifier_subscriptions_init", self.mm, subscriptions)
        self.call("kvm_init")
        assert self.call("kvm_create_vm", self.kvm, self.mm) == 0
        assert self.call("kvm_add_memslot", self.kvm, 0, self.vm_pages, 0) == 0, "no memory"
        self.call("kvm_vcpu_init", self.kvm, self.vcpu, tlb)
        assert self.call(how.ready.name, self.kvm, self.vcpu, n_pages) == 0, "no memory"
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
            pin(0)
            start = time.thread_time()
            failed = self.call("bench_faults", self.kvm, self.vcpu, self.n_pages, self.faults)
            assert failed == 0
            spent["fault_seconds"] = time.thread_time() - start

        def age() -> None:
            pin(1)
            start, count = time.thread_time(), self.ages
            read = self.how.read.name, self.kvm, self.vcpu, self.n_pages, count
            while not words[count]:
                if path == "reading":
                    self.call(*read, cpu=1)
                else:
                    locked = path == "locked"
                    self.call("bench_age", self.mm, self.vm_pages, locked, count, cpu=1)
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


def summary(runs: Runs, others: dict[str, Runs], n_pages: int) -> dict[str, Any]:
    """One path's line; its ratios to ``others``, of the same turns."""
    aged, seconds = (sum(run[name] for run in runs) for name in ("aged", "age_seconds"))
    ratios = {name: ratio(faults_per_s, runs, other) for name, other in others.items()}
    return {
        "faults_per_s": faults_per_s(runs),
        "pass_ms": seconds / aged * n_pages * 1e3 if aged else 0.0,
        "side_by_side": statistics.median(run["share"] for run in runs),
    } | {f"of_{name}": asdict(found) for name, found in ratios.items() if found is not None}


def image_of(subject: Subject, how: Faults) -> Image:
    """Faults and aging, and what makes a VM for them."""
    return build(
        [
            page_alloc.memblock_init, page_alloc.page_alloc_init, mm_init.node_init,
            mm_init.mm_init, mmu_notifier.mmu_notifier_subscriptions_init, main.kvm_init,
            main.kvm_create_vm, memslots.kvm_add_memslot, vcpu.kvm_vcpu_init, bench_faults,
            bench_map_all, bench_age, how.ready, how.read,
        ],
        how.parameters,
        hooks={**subject.arch.hooks, "bench_fault": how.fault},
    )  # fmt: skip


def bench(
    subject: Subject, how: Faults, n_pages: int, interval: float, seconds: float, rounds: int
) -> dict[str, Any]:
    """A summary by path."""
    guest, paths = Guest(image_of(subject, how), subject, how, n_pages), how.paths
    runs: dict[str, list[dict[str, float]]] = {path: [] for path in paths}
    for turn in range(rounds):
        first = turn % len(paths)
        for path in paths[first:] + paths[:first]:
            runs[path].append(guest.run(path, seconds, interval))
    others: dict[str, Runs] = {name: runs[name] for name in ("none", "reading")}
    return {path: summary(runs[path], others, n_pages) for path in paths}


def run() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="guest faults against aging")
    add_option(parser, {k: v for k, v in SUBJECTS.items() if v.faults}, "powerpc")
    parser.add_argument("--pages", type=int, default=1 << 22, help="default: 16 GiB")
    parser.add_argument(
        "--interval", type=float, default=0, metavar="MS", help="pause between passes"
    )
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    times = options.interval / 1e3, options.seconds, options.rounds
    found = {}
    for name in options.subject:
        subject = SUBJECTS[name]
        assert subject.faults is not None
        found[name] = bench(subject, subject.faults, options.pages, *times)
        if not options.json:
            show(subject, found[name])
    if options.json:
        schema = "mkold.bench.fault_vs_aging/3"
        print(json.dumps({"schema": schema, "subjects": found}, indent=2))


def show(subject: Subject, rows: dict[str, Any]) -> None:
    """The table of one subject."""
    print(f"{subject.name}: {subject.sentence}")
    heads = f"{'faults/s':>19s} {'of none':>22s} {'of reading':>22s} {'pass':>10s}"
    print(f"{heads} {'side by side':>14s}")
    for path, row in rows.items():
        ratios = " ".join(shown(Ratio(**row[f"of_{name}"])) for name in ("none", "reading"))
        print(
            f"{path:8s} {row['faults_per_s'] / 1e6:8.2f} M {ratios} {row['pass_ms']:7.2f} ms"
            f" {row['side_by_side']:14.2f}",
            flush=True,
        )


def shown(of: Ratio) -> str:
    """A ratio with its interval."""
    among = "" if of.low is None else f" [{of.low:.3f}, {of.high:.3f}]"
    return f"{of.value:.3f}{among}{'' if of.seen else '='}".rjust(22)


if __name__ == "__main__":
    run()
