"""The kernel's selftests as they run: their phases, one after the other, each timed.

Rules
-----
* A phase of the guest ends when every vCPU has touched each of its pages once. Nothing is
  populated before: the first phase takes the faults.
* *idle* is one aging pass over all memory by the path at hand, with nobody else at work; its
  time is the walk's own.
* *reset* takes every vCPU's translations, as setting its registers anew does; *ro* lets the
  host protect all memory from writing, then the guest reads it; *rw* writes it again, a fault
  a page.
* A read that does not give what was written is counted, as in any run.

Sources: tools/testing/selftests/kvm/access_tracking_perf_test.c (populate, write, read, idle,
write, idle, read) and mmu_stress_test.c (run1, reset, run2, ro, rw).
Known limits: aging marks all memory, through the multi-generational LRU's walk; the selftest
marks page by page through the page_idle bitmap, where there is one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mkold.ir.boot import BOOT_WORDS
from mkold.native import Memory
from mkold.run.clock import cycles_per_second
from mkold.run.guest import ROW_PAGE_SHIFT
from mkold.run.image import machine_image
from mkold.run.machine import Machine
from mkold.run.program import Program
from mkold.run.results import PathPhases
from mkold.run.session import Progress
from mkold.run.spec import MachineSpec

# Of each selftest: what it prints, and what is done.
PHASES: dict[str, tuple[tuple[str, str], ...]] = {
    "access_tracking": (
        ("populate memory", "write"),
        ("write to populated memory", "write"),
        ("read from populated memory", "read"),
        ("mark memory idle", "idle"),
        ("write to idle memory", "write"),
        ("mark memory idle again", "idle"),
        ("read from idle memory", "read"),
    ),
    "mmu_stress": (
        ("run1", "write"),
        ("reset", "reset"),
        ("run2", "write"),
        ("ro", "protect"),
        ("rw", "write"),
    ),
}


def selftest(
    name: str,
    spec: MachineSpec,
    pages: int,
    paths: tuple[str, ...],
    *,
    overlap: bool = False,
    progress: Progress | None = None,
) -> tuple[PathPhases, ...]:
    """Run the phases of selftest ``name``, each path on a machine of its own.

    Parameters
    ----------
    pages : of each vCPU, or with ``overlap`` of all of them together
    """
    image = machine_image(spec)
    hz = cycles_per_second(image, Memory(BOOT_WORDS))
    program = phase_program(pages, 1 if overlap else spec.vcpus)
    found = []
    for path in dict.fromkeys(paths):
        if progress:
            progress(f"{name}, {path}: its phases")
        found.append(Phases(Machine(image, program, spec, path, hz), pages).run(name))
    return tuple(found)


def phase_program(pages: int, regions: int) -> Program:
    """For each region a row that writes and one that reads each of its pages, in order."""
    made = []
    for region in range(regions):
        page = np.arange(region * pages, (region + 1) * pages, dtype=np.uint64)
        row = (page << np.uint64(ROW_PAGE_SHIFT)) | np.uint64(1 << 1)
        made += [row | np.uint64(1), row]
    parts = tuple((2 * pages * region, 2 * pages) for region in range(regions))
    nothing = np.zeros(0, np.uint64)
    return Program(np.concatenate(made), nothing, pages * regions, parts)


class Phases:
    """One machine, taken through its phases."""

    def __init__(self, machine: Machine, pages: int) -> None:
        self.machine, self.pages = machine, pages
        self.pool = ThreadPoolExecutor(machine.spec.vcpus)
        self.does: dict[str, Callable[[], float | None]] = {
            "write": lambda: self._touch(0),
            "read": lambda: self._touch(self.pages),
            "idle": self._idle,
            "reset": self._reset,
            "protect": self._protect,
        }

    def run(self, name: str) -> PathPhases:
        try:
            seconds = {title: self.does[what]() for title, what in PHASES[name]}
        finally:
            self.pool.shutdown()
            self.machine.stop()
        wrong = sum(guest["mismatches"] for guest in self.machine.guests)
        return PathPhases(self.machine.path, seconds, wrong)

    def _touch(self, first: int) -> float:
        """Every vCPU goes through ``pages`` rows of its own, from ``first`` on."""
        machine = self.machine
        for guest in machine.guests:
            guest["at"], guest["done_of_row"] = first, 0

        def one(cpu: int) -> None:
            at = machine.guests[cpu].at
            machine.image.call("replay", machine.memory, cpu, at, self.pages)

        began = time.perf_counter()
        list(self.pool.map(one, range(machine.spec.vcpus)))
        return time.perf_counter() - began

    def _idle(self) -> float | None:
        machine = self.machine
        if machine.path == "none":
            return None
        before = machine.node["lrugen.aging.cycles"]
        machine.kswapd["next_pass"] = 0
        machine.image.call("kswapd_work", machine.memory, machine.spec.vcpus, machine.kswapd.at)
        return (machine.node["lrugen.aging.cycles"] - before) / machine.cycles_per_s

    def _reset(self) -> float:
        began = time.perf_counter()
        self.machine.call("kvm_flush_remote_tlbs", self.machine.kvm.at)
        return time.perf_counter() - began

    def _protect(self) -> float:
        began = time.perf_counter()
        self.machine.call("mprotect_read", self.machine.mm.at, 0, self.machine.n_pages)
        self._touch(self.pages)
        return time.perf_counter() - began
