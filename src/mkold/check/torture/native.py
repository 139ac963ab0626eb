"""Rounds on real threads, and a watch over them.

Known limits: a thread that is stuck is told from one that has not had its turn by the processor
time that all of them used since the last of them got on, so a round must need less than
``STUCK_S``.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np

from mkold.check.claim import Case
from mkold.check.program import build_case
from mkold.check.torture.code import Torture
from mkold.check.torture.image import BATCH_ROUNDS, image_of, memory_of
from mkold.check.torture.marks import Marks
from mkold.native.image import Image
from mkold.native.llvm.sites import Status
from mkold.native.memory import Memory

STUCK_S = 3.0  # of processor time for each thread, with no thread getting on
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Stop:
    """Why the threads went no further in round ``round``.

    ``kind`` is ``stuck``, ``time is up``, ``crash``, or that of a ``native.Site``
    (``BUG_ON``, ``poison read``); ``said`` has what is known besides.
    """

    kind: str
    round: int
    said: str


@dataclass(frozen=True, slots=True)
class Seen:
    """How often a final state was seen, and in which round first."""

    n: int
    first: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What ``rounds`` rounds came to: final states, what stopped the last, a ``WARN_ON``."""

    rounds: int
    states: dict[tuple[int, ...], Seen] = field(default_factory=dict)
    stop: Stop | None = None
    warned: str = ""


def run_natively(case: Case, rounds: int, timeout_s: float) -> Outcomes:
    """Final states of ``rounds`` rounds, up to the first that stops, or till time is up."""
    began = time.process_time()
    built = build_case(case)
    image, entries, marks = image_of(case, built)
    memory, control, log, width = memory_of(built)
    names = [thread.name for thread in built.setup.threads]
    ends = began + timeout_s * len(names)
    watch = _Watch(image, entries, names, memory, control, marks, ends)
    seen: dict[tuple[int, ...], Seen] = {}
    done, stop = 0, None
    while done < rounds and stop is None and time.process_time() < ends:
        batch = min(BATCH_ROUNDS, rounds - done)
        n_whole, stop = watch.run(batch, done)
        rows = memory.words[log : log + n_whole * width].reshape(n_whole, width)
        _count(rows, done, seen)
        done += n_whole
    warned = image.warned(memory)
    return Outcomes(done, seen, stop, str(warned) if warned else "")


def _count(rows: np.ndarray, before: int, seen: dict[tuple[int, ...], Seen]) -> None:
    found, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    for row, at, n in zip(found, first, counts, strict=True):
        state = tuple(map(int, row))
        known = seen.get(state, Seen(0, before + int(at)))
        seen[state] = Seen(known.n + int(n), known.first)


class _Watch:
    """Runs batches of rounds and sees whether the threads get on, till time is up."""

    def __init__(
        self, image: Image, entries: list[str], names: list[str], memory: Memory, control: int,
        marks: Marks, ends: float,
    ) -> None:  # fmt: skip
        self.image, self.entries, self.names = image, entries, names
        self.memory, self.control = memory, control
        self.marks, self.ends = marks, ends

    def run(self, batch: int, before: int) -> tuple[int, Stop | None]:
        """How many rounds were whole, and why the next was not."""
        status = [int(Status.OK)] * len(self.entries)

        def work(cpu: int) -> None:
            entry = self.image.entry(self.entries[cpu])
            status[cpu] = entry(self.memory.base, cpu, self.control, batch, None)

        threads = [
            threading.Thread(target=work, args=(cpu,), daemon=True)
            for cpu in range(len(self.entries))
        ]
        start = self._word("phase")
        ended = self._word("ended")
        self.memory.words[ended : ended + len(threads)] = 0
        for thread in threads:
            thread.start()
        came_back = self._wait(threads)
        if came_back and not any(status):
            return batch, None
        # A round has two barriers; of the round under way the first has been passed.
        n_whole = max(0, self._word("phase") - start - 1) // 2
        return n_whole, self._stop(before + n_whole, n_whole)

    def _word(self, name: str) -> int:
        return int(self.memory.words[self.control + Torture.offset(name)])

    def _wait(self, threads: list[threading.Thread]) -> bool:
        """Whether all came back, rather than that some are stuck or that time is up."""
        last, since = -1, time.process_time()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(_LOOK_S)
            phase, now = self._word("phase"), time.process_time()
            if phase != last:
                last, since = phase, now
            elif now - since > STUCK_S * len(threads):
                return False
            if now > self.ends:
                return False
        return True

    def _stop(self, number: int, in_batch: int) -> Stop:
        finding = self.image.diagnose(self.memory)
        if finding is not None:
            return Stop(finding.site.kind, number, str(finding))
        ended = self._word("ended")
        rounds = self.memory.words[ended : ended + len(self.names)]
        late = [
            f"{name} at {self.marks.of(self.memory.words, i)}"
            for i, (name, n) in enumerate(zip(self.names, rounds, strict=True))
            if n <= in_batch
        ]
        kind = "time is up" if time.process_time() > self.ends else "stuck"
        return Stop(kind, number, f"not done: {', '.join(late)}")
