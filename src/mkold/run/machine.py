"""A machine: its memory laid out and booted, its threads, its counters.

Threads: one for each vCPU inside one native call (``replay``), and one for the host
(``kswapd_work``), which sleeps between calls. CPU numbers: vCPUs from 0, then the host's
thread, then whoever boots and looks on.

Each vCPU is given so many accesses to warm up and so many to be measured. All wait for one
another in between; counters are read there, and again when the last has done its work.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mkold.base.errors import MkoldError
from mkold.ir.boot import BOOT_WORDS
from mkold.ir.layout import LaidOut
from mkold.kvm.types import HIST_BUCKETS, TlbEntry
from mkold.mm.mm_types import MAX_NR_GENS
from mkold.native import Image, Memory, StoppedError
from mkold.run.counters import Counters, Places, read_counters
from mkold.run.guest import Guest
from mkold.run.host_memory import HostMemory
from mkold.run.kswapd import Kswapd
from mkold.run.layout import Layout, Place
from mkold.run.program import Program
from mkold.run.sizes import frames_for, table_words, vm_pages
from mkold.run.spec import MIN_FRAMES, MODES, MachineSpec

Words = NDArray[np.uint64]
FOREVER = 1 << 62
KSWAPD_SLEEP_S = 0.0005
JOIN_S = 0.5
# From so many pages on, the truth about one page in SAMPLE stands for all.
LARGE, SAMPLE = 1 << 16, 16


class Machine:
    """One machine, built and booted; ``start`` runs it.

    Parameters
    ----------
    image : the machine's native code (``mkold.run.image``)
    program : the packed trace
    spec : the machine
    path : aging path
    cycles_per_s : ticks of the cycle counter in a second
    seed : where in the trace the vCPUs start
    """

    def __init__(
        self,
        image: Image,
        program: Program,
        spec: MachineSpec,
        path: str,
        cycles_per_s: float,
        seed: int = 1,
    ) -> None:
        self.image, self.spec, self.path = image, spec.check(), path
        self.arch = spec.architecture
        self.n_pages, self.cycles_per_s = vm_pages(program.n_pages, spec), cycles_per_s
        self.own_pages = self.n_pages - program.n_pages  # in front: what L1 keeps for itself
        self.frames = frames_for(self.n_pages, spec.memory_share)
        self.program = program
        self._lay_out()
        self._boot(seed)
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._cpu_s = [0.0] * spec.vcpus  # of a vCPU's thread that has done its work
        self._cpu_now = [0.0] * spec.vcpus
        self._stopping = threading.Event()
        self._cores = sorted(os.sched_getaffinity(0))
        self._start_line: threading.Barrier | None = None
        self._at_work = spec.vcpus
        self._finish = threading.Lock()
        self.first: Counters | None = None
        self.last: Counters | None = None
        self.done = threading.Event()

    def _lay_out(self) -> None:
        n_vcpus, n_pages = self.spec.vcpus, self.n_pages
        params, arch = self.image.parameters, self.arch
        layout = Layout(BOOT_WORDS)
        kinds: tuple[LaidOut, ...] = (arch.kvm, Kswapd)
        at = {kind: layout.struct(kind) for kind in kinds}
        guests = [layout.struct(Guest) for _ in range(n_vcpus)]
        vcpus = [layout.struct(arch.vcpu) for _ in range(n_vcpus)]
        tlb_words = TlbEntry.size << params["TLB_BITS"]
        self._tlbs = [layout.area(tlb_words) for _ in range(n_vcpus)]
        self._reported = layout.area(n_pages)
        self._touched_before = layout.area(n_pages)
        self._touched = [layout.area(n_pages) for _ in range(n_vcpus)]
        self._written = [layout.area(n_pages) for _ in range(n_vcpus)]
        rows, loader = self.program.rows, self.program.loader
        self._hists = [layout.area(HIST_BUCKETS) for _ in range(n_vcpus)]
        self._row_area = layout.area(len(rows))
        self._loader_area = layout.area(len(loader) + 1)
        self._host_memory = HostMemory(
            layout, params, n_pages, self.frames, table_words(n_pages, self.spec)
        )
        self.page_shift = self._host_memory.page_shift
        self.ptrs_per_pte = self._host_memory.ptrs_per_pte
        self.memory = Memory(layout.end)
        words = self.memory.words
        words[self._row_area : self._row_area + len(rows)] = rows
        words[self._loader_area : self._loader_area + len(loader)] = loader
        self.node, self.mm = self._host_memory.places(words)
        self.kvm = Place(words, at[arch.kvm], arch.kvm)
        self.kswapd = Place(words, at[Kswapd], Kswapd)
        self.guests = [Place(words, where, Guest) for where in guests]
        self.vcpus = [Place(words, where, arch.vcpu) for where in vcpus]

    def call(self, name: str, *args: int) -> int | tuple[int, ...] | None:
        """Run a function of the image on this machine, on the boot CPU."""
        return self.image.call(name, self.memory, self.spec.vcpus + 1, *args)

    def _boot(self, seed: int) -> None:
        node, mm, kvm = self.node, self.mm, self.kvm
        self._host_memory.boot(self.call, mm, MODES[self.path])
        node["swap_cycles"] = int(self.spec.swap_latency_us * 1e-6 * self.cycles_per_s)
        low = max(MIN_FRAMES // 4, self.frames // 64)
        if self.frames <= self.n_pages:
            node["watermark_low"], node["watermark_high"] = low, 2 * low
        mm["reported"] = self._reported
        self.call("kvm_init")
        if self.call("kvm_create_vm", kvm.at, mm.at):
            raise MkoldError("the machine has no memory for its first page table")
        if self.call("kvm_add_memslot", kvm.at, 0, self.n_pages, 0):
            raise MkoldError("the machine has no memory for its memslot")
        mode = self.arch.modes[self.spec.mmu]
        if mode.configure and self.call(mode.configure.name, kvm.at, mode.word):
            raise MkoldError(f"the machine has no memory for a VM in mode {self.spec.mmu}")
        self._boot_guests(random.Random(seed))
        self._boot_kswapd()

    def _boot_guests(self, chance: random.Random) -> None:
        starts = self.program.starts(self.spec.vcpus, chance.random())
        for i, (guest, vcpu) in enumerate(zip(self.guests, self.vcpus, strict=True)):
            self.call("kvm_vcpu_init", self.kvm.at, vcpu.at, self._tlbs[i])
            guest["kvm"], guest["vcpu"] = self.kvm.at, vcpu.at
            guest["written"] = self._written[i] + self.own_pages
            guest["touched"] = self._touched[i] + self.own_pages
            guest["slot"] = i
            guest["switch_cycles"] = int(self.spec.switch_interval_s * self.cycles_per_s)
            if i == 0:
                self._boot_l1(vcpu)
            self._enter(vcpu)
            if i == 0:
                self._load(guest)
            vcpu["fault_hist"] = self._hists[i]
            first, n_rows, at = starts[i]
            guest["rows"], guest["n_rows"] = self._row_area + first, n_rows
            guest["at"], guest["done_of_row"], guest["loops"] = at, 0, 0

    def _boot_l1(self, vcpu: Place) -> None:
        """Let the VM make tables for a guest of its own, if the guest is to be that."""
        nesting = self.spec.nesting
        if not nesting:
            return
        name, n_pages = nesting.boot.name, self.program.n_pages
        if self.image.call(name, self.memory, 0, self.kvm.at, vcpu.at, n_pages):
            raise MkoldError("the host ran out of frames while L1 made its tables")

    def _enter(self, vcpu: Place) -> None:
        nesting = self.spec.nesting
        if nesting and self.call(nesting.enter.name, self.kvm.at, vcpu.at, nesting.number):
            raise MkoldError("the machine has no memory for a guest of the guest")

    def _load(self, guest: Place) -> None:
        """Let the first vCPU write what the program expects to find."""
        n_rows = len(self.program.loader)
        guest["rows"], guest["n_rows"] = self._loader_area, n_rows
        self.image.call("replay", self.memory, 0, guest.at, n_rows)
        if guest["failed"]:
            raise MkoldError("the host ran out of frames while the guest was loaded")

    def _boot_kswapd(self) -> None:
        kswapd = self.kswapd
        kswapd["kvm"], kswapd["mm"] = self.kvm.at, self.mm.at
        kswapd["interval_cycles"] = int(self.spec.interval_s * self.cycles_per_s)
        kswapd["n_guests"], kswapd["force_scan"] = self.spec.vcpus, not self.spec.bloom
        kswapd["sample"] = SAMPLE if self.n_pages >= LARGE else 1
        kswapd["touched_before"] = self._touched_before
        for i, where in enumerate(self._touched):
            kswapd.array("touched")[i] = where

    def start(self, warmup: int = 0, work: int = FOREVER) -> None:
        """Start all threads; each vCPU performs ``warmup`` accesses, then ``work``.

        ``first`` and ``last`` are the counters when all have warmed up and when the last
        one has done its work; ``done`` is set then.
        """
        line = self._start_line = threading.Barrier(self.spec.vcpus, self._begin)
        for i, guest in enumerate(self.guests):
            self._thread(i, partial(self._replay, i, guest.at, warmup, work, line))
        self._thread(self.spec.vcpus, partial(self._host, self.spec.vcpus))

    def _thread(self, cpu: int, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                if self.spec.pin:
                    os.sched_setaffinity(0, {self._cores[cpu % len(self._cores)]})
                work()
            except (StoppedError, threading.BrokenBarrierError):
                pass
            except BaseException as error:
                self._errors.append(error)
                self._stopping.set()
                self._ask_to_stop()

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _replay(
        self, cpu: int, guest: int, warmup: int, work: int, line: threading.Barrier
    ) -> None:
        if warmup:
            self.image.call("replay", self.memory, cpu, guest, warmup)
        line.wait()
        self.image.call("replay", self.memory, cpu, guest, work)
        with self._finish:
            self._cpu_s[cpu] = time.thread_time()
            self._at_work -= 1
            if not self._at_work and not self._stopping.is_set():
                self.last = self.counters()
                self.done.set()

    def _begin(self) -> None:
        if not self._stopping.is_set():
            self.first = self.counters()

    def _host(self, cpu: int) -> None:
        while not self._stopping.is_set():
            self.image.call("kswapd_work", self.memory, cpu, self.kswapd.at)
            self._stopping.wait(KSWAPD_SLEEP_S)

    def _ask_to_stop(self) -> None:
        self._stopping.set()
        if self._start_line is not None:
            self._start_line.abort()
        self.kvm["stop"] = 1
        self.node["stop"] = 1

    def stop(self) -> None:
        """Stop and join all threads.

        Raises
        ------
        KernelBugError : BUG_ON or a check failed in native code
        MkoldError : the guest lacked memory, or a thread did not stop
        """
        self._ask_to_stop()
        for thread in self._threads:
            thread.join(JOIN_S)
        stuck = [thread for thread in self._threads if thread.is_alive()]
        if stuck:
            self.memory.stop()
            for thread in stuck:
                thread.join(JOIN_S)
        self._threads, self._start_line = [], None
        if self._errors:
            raise self._errors[0]
        if stuck:
            raise MkoldError(f"{len(stuck)} threads of the machine did not stop")
        if any(guest["failed"] for guest in self.guests):
            raise MkoldError("the host ran out of frames that it could reclaim")

    @property
    def running(self) -> bool:
        """Whether no thread has failed."""
        return not self._errors

    def counters(self) -> Counters:
        """Counts now; read while the threads run, so not all of one moment."""
        cycles = self.call("read_cycles")
        assert isinstance(cycles, int)
        hists = [self.memory.words[at : at + HIST_BUCKETS] for at in self._hists]
        places = Places(self.node, self.kswapd, self.guests, self.vcpus, hists)
        return read_counters(places, cycles, self._vcpu_cpu_s())

    def _vcpu_cpu_s(self) -> float:
        """CPU time of the vCPUs' threads; what it was in the end for one that has ended."""
        for i, thread in enumerate(self._threads[: self.spec.vcpus]):
            with contextlib.suppress(OSError):
                if not self._cpu_s[i] and thread.ident is not None and thread.is_alive():
                    self._cpu_now[i] = time.clock_gettime(
                        time.pthread_getcpuclockid(thread.ident)
                    )
        return sum(end or now for end, now in zip(self._cpu_s, self._cpu_now, strict=True))

    def generations(self) -> tuple[int, ...]:
        """Pages in each generation, youngest first."""
        max_seq, min_seq = self.node["lrugen.max_seq"], self.node["lrugen.min_seq"]
        pages = self.node.array("lrugen.nr_pages").astype(np.int64)
        n = max(0, min(MAX_NR_GENS, max_seq - min_seq + 1))
        return tuple(max(0, int(pages[(max_seq - age) % MAX_NR_GENS])) for age in range(n))
