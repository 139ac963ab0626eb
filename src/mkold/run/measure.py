"""Measuring: the paths take turns in rounds, each on a fresh machine; medians.

Rules
-----
* Every round of every path boots its own machine, replays for the warm-up, then measures.
* The order of paths within a round is shuffled from the seed, so that a drift of the host
  does not favour one of them.
* Ctrl-C ends the current measurement at once and keeps what it has; a path that was not
  measured at all is left out.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from mkold.base.errors import InputError
from mkold.base.memory import allowance, require
from mkold.base.shown import shown
from mkold.native import Image, KernelBugError, Memory
from mkold.run.clock import cycles_per_second
from mkold.run.image import machine_image
from mkold.run.machine import Counters, Machine, frames_for, needed_bytes
from mkold.run.program import Program, pack
from mkold.run.results import (
    GenerationSample,
    PathResult,
    Round,
    RunResult,
    TraceInfo,
    summarise,
)
from mkold.run.spec import MachineSpec, RunSpec
from mkold.trace import Trace

SAMPLES = 60
SLEEP_S = 0.05
# A measurement that was cut shorter than this says nothing.
MIN_ELAPSED_S = 0.02

Progress = Callable[[str], None]


def run(
    trace: Trace,
    machine: MachineSpec | None = None,
    *,
    paths: tuple[str, ...] | None = None,
    spec: RunSpec | None = None,
    name: str = "trace",
    progress: Progress | None = None,
    memory_bytes: int | None = None,
) -> RunResult:
    """Replay ``trace`` on ``machine``, path by path, and compare.

    Parameters
    ----------
    trace : what the guest does (``mkold.trace.read_trace``)
    machine : the machine; the defaults suit two cores
    paths : aging paths to run; short for a ``spec`` with these
    spec : how long, how often, in which paths
    name : what to call the trace in the result
    progress : called with one line now and then
    memory_bytes : the most that the machine may take; by default from what there is

    Returns
    -------
    RunResult; ``interrupted`` is set if Ctrl-C ended it early

    Raises
    ------
    UsageError : a value of ``machine`` or ``spec`` makes no sense
    InputError : the trace is empty
    LimitError : the machine needs more memory than the bound
    KeyboardInterrupt : Ctrl-C before anything was measured
    """
    spec = spec or RunSpec()
    spec = (replace(spec, paths=tuple(paths)) if paths is not None else spec).check()
    machine = (machine or MachineSpec()).check()
    bound = allowance() if memory_bytes is None else memory_bytes
    return _Run(trace, machine, spec, name, progress or (lambda text: None), bound).run()


class _Run:
    """One run: what all rounds share, and what was found so far."""

    def __init__(
        self, trace: Trace, machine: MachineSpec, spec: RunSpec, name: str,
        progress: Progress, bound: int,
    ) -> None:  # fmt: skip
        self.began = time.perf_counter()
        self.machine, self.spec, self.progress = machine, spec, progress
        if not len(trace):
            raise InputError(f"{name}: the trace has no accesses")
        self.program = pack(trace, machine.page_shift)
        need = needed_bytes(self.program.n_pages, len(trace), machine)
        require(need, bound, f"a machine for {shown(name)}")
        command, accesses = trace.header.command, trace.n_accesses
        self.trace = TraceInfo(name, command, trace.n_pages, accesses, len(trace))
        self.found: dict[str, list[Round]] = {path: [] for path in spec.paths}
        self.startup_s = 0.0
        self.interrupted = False
        self.failures: list[str] = []

    def run(self) -> RunResult:
        self.progress("compiling (some seconds the first time)")
        image = _interruptible(lambda: machine_image(self.machine))
        rate = cycles_per_second(image, Memory(1 << 16))
        chance = random.Random(self.spec.seed)
        for number in range(self.spec.rounds):
            order = list(self.spec.paths)
            chance.shuffle(order)
            for path in order:
                self._measure(image, rate, path, number)
                if self.interrupted:
                    return self._result()
        return self._result()

    def _measure(self, image: Image, rate: float, path: str, number: int) -> None:
        what = f"round {number + 1} of {self.spec.rounds}, {path}"
        self.progress(what)
        session = _Session(image, self.program, self.machine, path, rate)
        try:
            session.begin(self.spec.seed + number)
            if not self.startup_s:
                self.startup_s = time.perf_counter() - self.began
            session.watch(self.spec, lambda text: self.progress(f"{what}: {text}"))
        except KeyboardInterrupt:
            self.interrupted = True
        try:
            done = session.end()
        except KernelBugError as error:
            self.failures.append(f"{path}: {error}")
            return
        if done is not None:
            self.found[path].append(done)
        elif self.interrupted and not any(self.found.values()):
            raise KeyboardInterrupt

    def _result(self) -> RunResult:
        vcpus = self.machine.vcpus
        done: list[PathResult] = [
            summarise(path, rounds, vcpus) for path, rounds in self.found.items() if rounds
        ]
        return RunResult(
            trace=self.trace,
            machine=self.machine,
            spec=self.spec,
            frames=frames_for(self.program.n_pages, self.machine.memory_share),
            pages=self.program.n_pages,
            paths=tuple(done),
            startup_s=self.startup_s,
            interrupted=self.interrupted,
            failures=tuple(self.failures),
        )


class _Session:
    """One measurement of one path."""

    def __init__(
        self,
        image: Image,
        program: Program,
        spec: MachineSpec,
        path: str,
        cycles_per_s: float,
    ) -> None:
        self.image, self.program, self.spec = image, program, spec
        self.path, self.rate = path, cycles_per_s
        self.machine: Machine | None = None
        self.first: Counters | None = None
        self.last: Counters | None = None
        self.samples: list[GenerationSample] = []

    def begin(self, seed: int) -> None:
        """Boot and start."""
        self.machine = Machine(self.image, self.program, self.spec, self.path, self.rate, seed)
        self.machine.start()

    def watch(self, spec: RunSpec, progress: Progress) -> None:
        """Warm up, then sample until the time is over or a thread fails."""
        machine = self.machine
        assert machine is not None
        _wait(spec.warmup_s, machine)
        self.first = machine.counters()
        began = time.perf_counter()
        step = spec.duration_s / SAMPLES
        for i in range(SAMPLES):
            _wait(began + (i + 1) * step - time.perf_counter(), machine)
            if not machine.running:
                return
            self._sample(time.perf_counter() - began)
            self.last = machine.counters()
            progress(f"{self._rate_now() / 1e6:.1f} M accesses/s")

    def _sample(self, at_s: float) -> None:
        assert self.machine is not None
        pages = self.machine.generations()
        evicted = max(0, self.program.n_pages - sum(pages))
        self.samples.append(GenerationSample(at_s, pages, evicted))

    def _rate_now(self) -> float:
        assert self.first is not None
        assert self.last is not None
        elapsed = (self.last.cycles - self.first.cycles) / self.rate
        return (self.last.accesses - self.first.accesses) / max(elapsed, 1e-9)

    def end(self) -> Round | None:
        """Stop the machine; what was measured, if enough."""
        if self.machine is None:
            return None
        if self.first is not None:
            self.last = self.machine.counters()
        self.machine.stop()
        if self.first is None or self.last is None:
            return None
        return _round(self.path, self.first, self.last, self.rate, tuple(self.samples))


def _interruptible(work: Callable[[], Image]) -> Image:
    """Run ``work`` in a thread of its own, so that Ctrl-C need not wait for the compiler."""
    done: list[Image] = []
    failed: list[Exception] = []

    def guarded() -> None:
        try:
            done.append(work())
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(SLEEP_S)
    if failed:
        raise failed[0]
    return done[0]


def _wait(seconds: float, machine: Machine) -> None:
    """Sleep in short steps, so that a failed thread ends the wait."""
    until = time.perf_counter() + seconds
    while machine.running:
        left = until - time.perf_counter()
        if left <= 0:
            return
        time.sleep(min(left, SLEEP_S))


def _round(
    path: str,
    first: Counters,
    last: Counters,
    rate: float,
    samples: tuple[GenerationSample, ...],
) -> Round | None:
    elapsed = (last.cycles - first.cycles) / rate
    if elapsed < MIN_ELAPSED_S:
        return None
    return Round(
        path=path,
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
        generations=samples,
    )
