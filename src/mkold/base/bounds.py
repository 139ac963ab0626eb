"""Bounds on what this process may use while it runs code of somebody else's.

Rules
-----
1. Time: code that goes on is stopped by an error that it sees, with its own line in the
   traceback; the clock is that of the processor, and behind it that of the wall for code that
   sleeps. Code that catches the error meets it again; after ``PATIENCE`` of them the process
   ends with ``Exit.UNDECIDED``.
2. Memory: the address space is limited; Python raises ``MemoryError``.
3. Code that never comes back from a library in C sees no error. A process beside this one
   watches the time, says that it is up, and ends this one with ``Exit.UNDECIDED``.

Known limits: signals reach the main thread alone, so ``within`` is for that thread; a signal
of the user's waits until such a library comes back, or time is up.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mkold.base import signals
from mkold.base.errors import Exit, LimitError
from mkold.base.shown import shown

WALL_FACTOR = 6
PATIENCE = 3
HARD_FACTOR = 1.1
TICKS_FACTOR = 1.25
LATE_S = 0.2
_LOOK_S = 0.05


@contextmanager
def within(seconds: float, what: str = "") -> Iterator[None]:
    """At most so much processor time for what is done within; ``what`` says what that is.

    Raises
    ------
    LimitError : time is up
    """
    said = f"no end within {seconds:g} s"
    last = shown(f"mkold: {what}: {said}" if what else f"mkold: {said}") + "\n"
    seen = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > PATIENCE:
            os.write(2, last.encode())
            os._exit(Exit.UNDECIDED)
        raise LimitError(said)

    timers = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
    with _watched(seconds * HARD_FACTOR + LATE_S, last), _cpu_limit(seconds):
        before = {number: signal.signal(number, stop) for number in timers}
        signal.setitimer(signal.ITIMER_PROF, seconds, min(seconds / 20, 1.0))
        signal.setitimer(signal.ITIMER_REAL, seconds * WALL_FACTOR, min(seconds / 20, 1.0))
        try:
            yield
        finally:
            for number in timers:  # one that is on its way is dropped by this
                signal.signal(number, signal.SIG_IGN)
            for number, timer in timers.items():
                signal.setitimer(timer, 0)
                signal.signal(number, before[number] or signal.SIG_DFL)


@contextmanager
def _cpu_limit(seconds: float) -> Iterator[None]:
    """A limit of the system's a little above; as before at the end, however that comes."""
    before = resource.getrlimit(resource.RLIMIT_CPU)
    _at_most(resource.RLIMIT_CPU, cpu_limit(seconds * HARD_FACTOR + 1))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, before)


def cpu_limit(seconds: float) -> int:
    """What ``RLIMIT_CPU`` has to be for this process to have ``seconds`` more, at the least.

    The system counts that limit by ticks. In a process that has run for minutes they are
    seconds apart from the clock that it reads, in either direction.
    """
    return math.ceil(time.process_time() * TICKS_FACTOR + seconds + 1)


@contextmanager
def _watched(seconds: float, last: str) -> Iterator[None]:
    """After so much processor time this process says ``last`` and ends.

    It can't do so itself while a library in C holds the interpreter. The signal for an illegal
    instruction has the number of the exit code, and the system's ``_exit`` as its handler.
    """
    assert int(signal.SIGILL) == Exit.UNDECIDED
    system, pid = ctypes.CDLL(None), os.getpid()
    system.signal.restype = ctypes.c_void_p
    system.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    before = system.signal(signal.SIGILL, ctypes.cast(system._exit, ctypes.c_void_p))
    watcher = os.fork()
    if not watcher:
        try:
            _watch(pid, seconds, last)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(watcher, signal.SIGKILL)
        os.waitpid(watcher, 0)
        system.signal(signal.SIGILL, before)


def _watch(pid: int, seconds: float, last: str) -> None:
    signals.as_helper()
    ticks, began, start = os.sysconf("SC_CLK_TCK"), time.monotonic(), _ticks(pid)
    while _ticks(pid) - start < seconds * ticks:
        if time.monotonic() - began > seconds * WALL_FACTOR:
            break
        time.sleep(_LOOK_S)
    os.write(2, last.encode())
    os.kill(pid, signal.SIGILL)
    time.sleep(1.0)  # it may have been told to ignore that
    os.kill(pid, signal.SIGKILL)


def _ticks(pid: int) -> int:
    """Processor time that a process has used, where the system says it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0


@contextmanager
def memory(size: int) -> Iterator[None]:
    """At most ``size`` bytes of address space for what is done within; then as before."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit_memory(size)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def limit_memory(size: int) -> None:
    """From now on at most ``size`` bytes of address space, or fewer where there are fewer."""
    _at_most(resource.RLIMIT_AS, size)


def _at_most(kind: int, value: int) -> None:
    """Lower a limit of the system's; one that is lower already stays."""
    soft, hard = resource.getrlimit(kind)
    known = [limit for limit in (value, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(kind, (min(known), hard))
