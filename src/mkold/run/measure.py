"""Measuring: the paths take turns in rounds, each on a fresh machine, with equal work.

Rules
-----
* A short run of the first path tells how much work fills a slot. From then on every round
  of every path boots its own machine, which does that work from the same place in the trace
  on; the place moves from round to round.
* The order of paths within a round is shuffled from the seed, so that a drift of the host
  does not favour one of them.
* Rounds go on until there were as many as asked for, the interval of the guest's rate is as
  narrow as asked, or the time is over.
* Ctrl-C ends the current measurement at once and keeps what it has; a path that was not
  measured at all is left out.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from mkold.base.errors import InputError, LimitError
from mkold.base.memory import allowance, require
from mkold.base.shown import shown
from mkold.native import Image, KernelBugError, Memory
from mkold.run.activity import activity
from mkold.run.busy import load, spoiled
from mkold.run.clock import cycles_per_second
from mkold.run.figures import BY_KEY, GUEST_RATE, comparisons, pairs, summarise
from mkold.run.image import machine_image
from mkold.run.interval import MIN_TURNS, ratio
from mkold.run.program import Program, pack
from mkold.run.results import Round, RunResult, TraceInfo
from mkold.run.saved import STEPS, can_tell, least_share
from mkold.run.session import SLEEP_S, Progress, Session, Work, guest_rate_of
from mkold.run.sizes import frames_for, needed_bytes, vm_pages
from mkold.run.spec import MachineSpec, RunSpec
from mkold.run.steady import misses
from mkold.trace import Trace

# How much of a slot the first look at the machine's speed takes, and the least and most of it.
LOOK_SHARE, LEAST_LOOK_S, MOST_LOOK_S = 0.3, 0.1, 1.0


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
    if not len(trace):
        raise InputError(f"{name}: the trace has no accesses")
    info = TraceInfo(name, trace.header.command, trace.n_pages, trace.n_accesses, len(trace))
    program = pack(trace, machine.page_shift)
    result = run_program(program, info, machine, spec, progress, memory_bytes)
    if result.interrupted or result.frames >= result.pages:
        return result
    return _with_misses(result, trace, progress, memory_bytes)


def _with_misses(
    result: RunResult, trace: Trace, progress: Progress | None, memory_bytes: int | None
) -> RunResult:
    """What LRU, clock and MIN would have done, if there is memory to count it."""
    if progress:
        progress("counting what LRU, clock and MIN would miss")
    with contextlib.suppress(LimitError):
        shift = result.machine.page_shift
        found = misses(trace, result.frames, page_shift=shift, again=True,
                       memory_bytes=memory_bytes)  # fmt: skip
        return replace(result, misses=found)
    return result


def run_program(
    program: Program,
    info: TraceInfo,
    machine: MachineSpec,
    spec: RunSpec,
    progress: Progress | None = None,
    memory_bytes: int | None = None,
) -> RunResult:
    """As ``run``, of a program that is packed; ``info`` says what it is."""
    machine, spec = machine.check(), spec.check()
    bound = allowance() if memory_bytes is None else memory_bytes
    need = needed_bytes(program.n_pages, len(program.rows), machine)
    require(need, bound, f"a machine for {shown(info.name)}")
    return _Run(program, info, machine, spec, progress or (lambda text: None)).run()


class _Run:
    """One run: what all rounds share, and what was found so far."""

    def __init__(
        self, program: Program, info: TraceInfo, machine: MachineSpec, spec: RunSpec,
        progress: Progress,
    ) -> None:  # fmt: skip
        self.began = time.perf_counter()
        self.program, self.trace = program, info
        self.machine, self.spec, self.progress = machine, spec, progress
        self.found: dict[str, list[Round]] = {label: [] for label in spec.labels}
        self.work = Work(0, 0, spec.slot_s)
        self.shares: dict[str, float] = {}
        self.startup_s = 0.0
        self.interrupted = False
        self.failures: list[str] = []
        self.busy = load()

    def run(self) -> RunResult:
        self.progress("compiling (some seconds the first time)")
        image = _interruptible(lambda: machine_image(self.machine))
        rate = cycles_per_second(image, Memory(1 << 16))
        self.busy = load()
        self.work = self._plan(image, rate)
        if not self.failures:
            self._rounds(image, rate)
        wanted = self.spec.saved_s and can_tell(self.program.n_pages)
        if wanted and not self.interrupted and not self.failures:
            self._look_for_shares(image, rate)
        return self._result()

    def _plan(self, image: Image, rate: float) -> Work:
        """How much work fills a slot."""
        spec, path = self.spec, self.spec.paths[0]
        self.progress(f"how fast is the guest? {path}")
        seconds = min(MOST_LOOK_S, max(LEAST_LOOK_S, LOOK_SHARE * spec.slot_s))
        try:
            speed = guest_rate_of(image, self.program, self.machine, path, rate, seconds)
        except KernelBugError as error:
            self.failures.append(f"{path}: {error}")
            speed = 0.0
        planned = spec.slot_s - spec.warmup_s
        return Work(int(speed * spec.warmup_s), max(1, int(speed * planned)), planned)

    def _rounds(self, image: Image, rate: float) -> None:
        chance = random.Random(self.spec.seed)
        until = time.perf_counter() + self.spec.duration_s - self.spec.saved_s
        order = list(zip(self.spec.labels, self.spec.paths, strict=True))
        for number in range(self.spec.rounds):
            chance.shuffle(order)
            for label, path in order:
                self._measure(image, rate, label, path, number)
                if self.interrupted:
                    return
            late = number + 1 >= MIN_TURNS and time.perf_counter() > until
            if late or self._precise():
                return

    def _precise(self) -> bool:
        """Whether the guest's rate is compared as precisely as was asked for."""
        wanted, value = self.spec.precision, BY_KEY[GUEST_RATE].value
        for other, base in pairs(self.spec.labels) if wanted else ():
            found = ratio(value, self.found[other], self.found[base])
            return found is not None and found.half_width <= wanted
        return False

    def _measure(self, image: Image, rate: float, label: str, path: str, number: int) -> None:
        what = f"round {number + 1} of {self.spec.rounds}, {label}"
        self.progress(what)
        session = None
        try:
            session = Session(
                image, self.program, self.machine, path, label, rate, self.spec.seed + number
            )
            self.startup_s = self.startup_s or time.perf_counter() - self.began
            session.watch(self.work, lambda text: self.progress(f"{what}: {text}"))
        except KeyboardInterrupt:
            self.interrupted = True
        try:
            done = session.end() if session else None
        except KernelBugError as error:
            self.failures.append(f"{label}: {error}")
            return
        if done is not None and (done.whole or not self.found[label]):
            self.found[label].append(done)
        elif self.interrupted and not any(self.found.values()):
            raise KeyboardInterrupt

    def _look_for_shares(self, image: Image, rate: float) -> None:
        """The least share of memory for each path."""
        names = list(dict.fromkeys(self.spec.paths))
        slot = self.spec.saved_s / (STEPS * len(names))
        part = slot / self.spec.slot_s
        work = Work(int(self.work.warmup * part), max(1, int(self.work.accesses * part)), slot)

        def slowdown(path: str, share: float) -> float:
            self.progress(f"the least memory that keeps the guest fast: {path}, {share:.0%}")
            machine = replace(self.machine, memory_share=share)
            session = Session(image, self.program, machine, path, path, rate, self.spec.seed)
            try:
                session.watch(work, lambda text: None)
            finally:
                done = session.end()
            if done is None:
                return math.inf
            lost = done.swap_wait_s + done.reclaim_s
            return lost / max(done.vcpu_cpu_s - lost, 1e-9)

        try:
            for path in names:
                self.shares[path] = least_share(partial(slowdown, path))
        except KeyboardInterrupt:
            self.interrupted = True

    def _result(self) -> RunResult:
        paths = [
            summarise(label, rounds, self.shares.get(label))
            for label, rounds in self.found.items()
            if rounds
        ]
        return RunResult(
            trace=self.trace,
            machine=self.machine,
            spec=self.spec,
            frames=frames_for(
                vm_pages(self.program.n_pages, self.machine), self.machine.memory_share
            ),
            pages=self.program.n_pages,
            accesses=self.work.accesses,
            paths=tuple(paths),
            startup_s=self.startup_s,
            comparisons=comparisons(paths),
            spoiled=spoiled(self.machine, self.busy, load()),
            activity=None if self.interrupted else activity(self.program),
            interrupted=self.interrupted,
            failures=tuple(self.failures),
        )


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
