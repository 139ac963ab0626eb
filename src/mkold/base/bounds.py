"""Bounds on what this process may use while it runs code of somebody else's.

Rules
-----
1. Time: code that goes on is stopped by an error that it sees, with its own line in the
   traceback; the clock is that of the processor, and behind it that of the wall for code that
   sleeps. Code that catches the error meets it again; after ``PATIENCE`` of them the process
   ends with ``Exit.UNDECIDED``.
2. Memory: the address space is limited; Python raises ``MemoryError``.
3. Code that never comes back from a library in C is ended by the system, without a word.

Known limits: signals reach the main thread alone, so ``within`` is for that thread.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mkold.base.errors import Exit, LimitError

WALL_FACTOR = 6
PATIENCE = 3


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """At most so much processor time for what is done within.

    Raises
    ------
    LimitError : time is up
    """
    said = f"no end within {seconds:g} s"
    seen = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > PATIENCE:
            os.write(2, f"mkold: {said}\n".encode())
            os._exit(Exit.UNDECIDED)
        raise LimitError(said)

    signals = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
    before = {number: signal.signal(number, stop) for number in signals}
    cpu = resource.getrlimit(resource.RLIMIT_CPU)
    _at_most(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds * 1.1 + 2))
    signal.setitimer(signal.ITIMER_PROF, seconds, min(seconds / 20, 1.0))
    signal.setitimer(signal.ITIMER_REAL, seconds * WALL_FACTOR, min(seconds / 20, 1.0))
    try:
        yield
    finally:
        for number, timer in signals.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
        resource.setrlimit(resource.RLIMIT_CPU, cpu)


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
