"""One measurement of one path: a machine booted, warmed up, watched while it works, stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mkold.kvm.types import HIST_BITS
from mkold.native import Image
from mkold.run.counters import Counters
from mkold.run.machine import FOREVER, Machine
from mkold.run.program import Program
from mkold.run.results import GenerationSample, Round
from mkold.run.spec import MachineSpec

SAMPLES = 60
MAX_SAMPLES = 400
SLEEP_S = 0.05
# Work that takes this much longer than planned is cut, so that a hopeless path ends.
PATIENCE = 8.0
PATIENCE_S = 5.0
# A measurement that was cut shorter than this says nothing.
MIN_ELAPSED_S = 0.02

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Work:
    """What each vCPU does: accesses before measuring starts, accesses that are measured; and
    how long the latter should take, in seconds."""

    warmup: int
    accesses: int
    planned_s: float


class Session:
    """One measurement of ``path``, which the result calls ``label``."""

    def __init__(
        self, image: Image, program: Program, spec: MachineSpec, path: str, label: str,
        cycles_per_s: float, seed: int,
    ) -> None:  # fmt: skip
        self.n_pages, self.spec, self.label, self.rate = (
            program.n_pages,
            spec,
            label,
            cycles_per_s,
        )
        self.samples: list[GenerationSample] = []
        self.machine = Machine(image, program, spec, path, cycles_per_s, seed)

    def watch(self, work: Work, progress: Progress) -> None:
        """Let the machine do its work, or fail; sample it meanwhile."""
        machine = self.machine
        machine.start(work.warmup, work.accesses)
        while machine.first is None and machine.running:
            time.sleep(min(SLEEP_S, work.planned_s / SAMPLES))
        began, step = time.perf_counter(), work.planned_s / SAMPLES
        until = began + PATIENCE * work.planned_s + PATIENCE_S
        while machine.running and time.perf_counter() < until:
            if machine.done.wait(step):
                break
            if len(self.samples) < MAX_SAMPLES:
                self._sample(time.perf_counter() - began)
                progress(f"{self.guest_rate() / 1e6:.1f} M accesses/s")

    def _sample(self, at_s: float) -> None:
        pages = self.machine.generations()
        evicted = max(0, self.n_pages - sum(pages))
        self.samples.append(GenerationSample(at_s, pages, evicted))

    def guest_rate(self) -> float:
        """Accesses per second so far."""
        first = self.machine.first
        if first is None:
            return 0.0
        last = self.machine.last or self.machine.counters()
        elapsed = (last.cycles - first.cycles) / self.rate
        return (last.accesses - first.accesses) / max(elapsed, 1e-9)

    def end(self) -> Round | None:
        """Stop the machine; what was measured, if enough.

        Raises
        ------
        KernelBugError : BUG_ON or a check failed in native code
        """
        machine = self.machine
        whole = machine.last is not None
        last = machine.last or machine.counters()
        machine.stop()
        if machine.first is None:
            return None
        return self._round(machine.first, last, whole)

    def _round(self, first: Counters, last: Counters, whole: bool) -> Round | None:
        rate = self.rate
        elapsed = (last.cycles - first.cycles) / rate
        if elapsed < MIN_ELAPSED_S and not whole:
            return None
        return Round(
            path=self.label,
            vcpus=self.spec.vcpus,
            whole=whole,
            elapsed_s=elapsed,
            vcpu_cpu_s=last.vcpu_cpu_s - first.vcpu_cpu_s,
            accesses=last.accesses - first.accesses,
            passes=last.passes - first.passes,
            entries=last.entries - first.entries,
            walk_s=(last.walk_cycles - first.walk_cycles) / rate,
            lock_wait_s=(last.lock_wait_cycles - first.lock_wait_cycles) / rate,
            swap_wait_s=(last.swap_wait_cycles - first.swap_wait_cycles) / rate,
            reclaim_s=(last.reclaim_cycles - first.reclaim_cycles) / rate,
            faults=last.faults - first.faults,
            refaults=last.refaults - first.refaults,
            recent_refaults=last.recent_refaults - first.recent_refaults,
            evicted=last.evicted - first.evicted,
            young_reported=last.young_reported - first.young_reported,
            young_true=last.young_true - first.young_true,
            young_agreed=last.young_agreed - first.young_agreed,
            mismatches=last.mismatches,
            fault_ns=_latencies(first, last, rate),
            generations=tuple(self.samples),
        )


def _latencies(first: Counters, last: Counters, rate: float) -> tuple[tuple[float, int], ...]:
    """Buckets that faults fell into: the upper end in nanoseconds, how many."""
    counts = last.fault_hist - first.fault_hist
    found = []
    for bucket in np.flatnonzero(counts):
        shift = max(0, int(bucket >> HIST_BITS) - 1)
        cycles = (int(bucket) - (shift << HIST_BITS) + 1) << shift
        found.append((cycles / rate * 1e9, int(counts[bucket])))
    return tuple(found)


def guest_rate_of(
    image: Image, program: Program, spec: MachineSpec, path: str, cycles_per_s: float,
    seconds: float,
) -> float:  # fmt: skip
    """Accesses per second of one vCPU of a machine that runs for ``seconds``.

    Raises
    ------
    KernelBugError : BUG_ON or a check failed in native code
    """
    session = Session(image, program, spec, path, path, cycles_per_s, seed=1)
    machine = session.machine
    machine.start(0, FOREVER)
    try:
        until = time.perf_counter() + seconds
        while machine.running and time.perf_counter() < until:
            time.sleep(min(SLEEP_S, seconds))
        rate = session.guest_rate()
    finally:
        machine.stop()
    return rate / spec.vcpus
