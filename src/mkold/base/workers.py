"""Many independent jobs in worker processes, under limits that hold.

Rules
-----
1. A job that outlasts its processor time is killed by the system, with its worker,
   whatever it does; one that sleeps is killed after ``WALL_FACTOR`` times as long. A worker
   that dies takes only the job it was at. Others go on in a new worker.
2. A worker's address space is limited; running out ends the job, not the worker, where
   Python sees it: in the job, and in the sending of what came of it.
3. Results come as they are finished. Closing the iterator stops the workers at once.

Known limits: workers are forked, so the caller must have no threads of its own.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from mkold.base import signals
from mkold.base.bounds import HARD_FACTOR, WALL_FACTOR, cpu_limit, limit_memory

CHUNK = 8  # short jobs are given out so many at a time
_NO_MEMORY = 12  # how a worker ends that can't even say that it ran out
Item = TypeVar("Item")
Result = TypeVar("Result")
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Died:
    """A job that ended without a result: ``time``, ``memory`` or ``crash``, by which signal."""

    cause: str
    signal: str = field(default="", compare=False)


def hard_limit(timeout_s: float) -> float:
    """When to kill a job that was to end by itself within ``timeout_s``."""
    return timeout_s * HARD_FACTOR


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    jobs: int,
    hard_s: float,
    memory_bytes: int | None = None,
    chunk: int = CHUNK,
    todo: deque[int] | None = None,
) -> Generator[tuple[int, Result | Died]]:
    """Apply ``function`` to every item; yield the index and result of each when it is done.

    Parameters
    ----------
    function : must not raise; what it returns must pickle
    jobs : worker processes
    hard_s : seconds of processor time after which a job is killed
    memory_bytes : address space of a worker, ``None`` for no limit
    chunk : at most so many jobs are given to a worker at a time
    todo : indices of the items to do, all if None; the caller may append more while it takes
        results
    """
    todo = deque(range(len(items))) if todo is None else todo
    workers: list[_Worker] = []
    try:
        while todo or any(worker.given for worker in workers):
            while len(workers) < jobs and _idle(workers) < len(todo):
                with signals.whole():
                    workers.append(_start(function, items, hard_s, memory_bytes, workers))
            for worker in workers:
                if not worker.given and todo:
                    worker.give(todo, jobs, chunk)
            yield from _collect(workers, todo, WALL_FACTOR * hard_s)
    finally:
        for worker in workers:
            worker.stop()


def _idle(workers: list[_Worker]) -> int:
    return sum(not worker.given for worker in workers)


@dataclass(slots=True)
class _Worker:
    process: Any
    connection: Connection
    given: deque[int] = field(default_factory=deque)
    since: float = 0.0

    def give(self, todo: deque[int], jobs: int, chunk: int) -> None:
        size = max(1, min(chunk, len(todo) // (2 * jobs)))
        self.given.extend(todo.popleft() for _ in range(size))
        self.since = time.monotonic()
        with contextlib.suppress(OSError):  # a dead worker is found when it is waited for
            self.connection.send(list(self.given))

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _start(
    function: Callable[[Any], Any], items: Sequence[Any], hard_s: float,
    memory: int | None, others: list[_Worker],
) -> _Worker:  # fmt: skip
    ours, theirs = _FORK.Pipe()
    inherited = [ours, *(other.connection for other in others)]
    process = _FORK.Process(
        target=_work, args=(function, items, theirs, hard_s, memory, inherited), daemon=True
    )
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _work(
    function: Callable[[Any], Any], items: Sequence[Any], connection: Connection,
    hard_s: float, memory: int | None, inherited: list[Connection],
) -> None:  # fmt: skip
    signals.as_helper()
    for other in inherited:  # else the end of the parent would go unnoticed
        other.close()
    # What was there before the fork is no garbage; short jobs make little of their own.
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)
    if memory is not None:
        limit_memory(memory)
    with contextlib.suppress(EOFError, OSError):
        try:
            while True:
                for index in connection.recv():
                    _allow(hard_s)
                    _do(function, items, index, connection)
        except MemoryError:
            os._exit(_NO_MEMORY)


def _do(
    function: Callable[[Any], Any], items: Sequence[Any], index: int, connection: Connection
) -> None:
    try:
        connection.send((index, function(items[index])))
    except MemoryError:
        pass  # what was made is given back first
    else:
        return
    connection.send((index, Died("memory")))


def _allow(seconds: float) -> None:
    """From now on, so much processor time; then the system kills the process.

    A timer does it to the millisecond. The limit in whole seconds goes on where a job
    switches the timer off, and in what it starts.
    """
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    limit = cpu_limit(seconds)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    if most != resource.RLIM_INFINITY:
        limit = min(limit, most)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, most))


def _collect(
    workers: list[_Worker], todo: deque[int], patience_s: float
) -> Iterator[tuple[int, Any]]:
    """Wait for news; yield results, and replace workers that died or are too slow."""
    busy = [worker for worker in workers if worker.given]
    now = time.monotonic()
    patience = max(0.0, min(worker.since for worker in busy) + patience_s - now)
    ready = multiprocessing.connection.wait([w.connection for w in busy], patience)
    now = time.monotonic()
    for worker in busy:
        if worker.connection in ready:
            try:
                index, result = worker.connection.recv()
            except (EOFError, OSError):
                lost = _bury(worker, workers, todo)
                yield lost, _cause(worker)
                continue
            worker.given.remove(index)
            worker.since = now
            yield index, result
        elif now - worker.since >= patience_s:
            yield _bury(worker, workers, todo), Died("time")


def _bury(worker: _Worker, workers: list[_Worker], todo: deque[int]) -> int:
    """Remove the worker; the job it was at is lost, the others go back."""
    worker.stop()
    workers.remove(worker)
    lost = worker.given.popleft()
    todo.extendleft(reversed(worker.given))
    return lost


def _cause(worker: _Worker) -> Died:
    """Why the worker died. A kill from outside is the kernel's answer to no memory, an abort
    that of a library in C++."""
    causes = {
        -signal.SIGKILL: "memory",
        -signal.SIGABRT: "memory",
        _NO_MEMORY: "memory",
        -signal.SIGXCPU: "time",
        -signal.SIGPROF: "time",
    }
    code = worker.process.exitcode
    name = signal.Signals(-code).name if code < 0 else f"exit {code}"
    return Died(causes.get(code, "crash"), name)
