"""Ctrl-C, SIGTERM and SIGHUP: heard alike, heard once, and never in the middle of a step.

Rules
-----
1. Within ``heard()`` the first of them raises ``KeyboardInterrupt`` in the main thread.
   Whoever is interrupted cleans up on its way out; there is nothing else to know.
2. Another one within ``PATIENCE_S`` does nothing, so that an impatient second Ctrl-C does not
   break the cleaning up. A later one ends the process at once.
3. Within ``whole()`` it waits until the step is done: what was begun has a name by then.
4. One that was lost (Python drops what is raised in a destructor) is raised again.
5. A signal that was ignored when mkold was started (``nohup``, ``&``) stays ignored.

Processes that mkold starts are deaf to all three, and die with it: ``as_helper``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from mkold.base.errors import Exit

if TYPE_CHECKING:
    import subprocess

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_S = 5.0
AGAIN_S = 0.01
LAST_S = 2.0
T = TypeVar("T")
_PR_SET_PDEATHSIG = 1


class _Ear:
    """What was heard. One a process."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.number = int(signal.SIGINT)
        self.steps = 0
        self.waiting = False

    def __call__(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self.since is None:
            self.since, self.number = now, number
            if not self.steps:
                raise KeyboardInterrupt
            self.waiting = True
        elif now - self.since > PATIENCE_S:
            os._exit(Exit.INTERRUPTED)


_EAR = _Ear()


@contextlib.contextmanager
def heard(*, last: bool = False) -> Iterator[None]:
    """Hear the signals of rule 1; ``last``: nothing comes after but the end of the process,
    which they don't disturb."""
    _EAR.since, _EAR.steps, _EAR.waiting = None, 0, False
    before: dict[signal.Signals, Any] = {}
    lost = sys.unraisablehook
    sys.unraisablehook = _again
    try:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _EAR)
    except ValueError:  # not the main thread
        pass
    try:
        yield
    finally:
        for known, handler in before.items():
            signal.signal(known, signal.SIG_IGN if last else handler)
        sys.unraisablehook = lost


def interrupted() -> bool:
    """Whether one was heard: what fails after it is no error of its own."""
    return _EAR.since is not None


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """A step that is not interrupted; one that came meanwhile is raised at its end."""
    _EAR.steps += 1
    try:
        yield
    finally:
        _EAR.steps -= 1
    if _EAR.waiting and not _EAR.steps:
        _EAR.waiting = False
        raise KeyboardInterrupt


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has; ``poll()``, interrupted, would keep a lock that ``wait()`` needs."""
    with whole():
        return process.poll() is not None


def until_interrupted(found: Generator[T], take: Callable[[T], None]) -> bool:
    """``take`` what is found, as it comes; whether an interrupt ended that.

    ``found`` may give more when it is interrupted: what it has by then. Interrupted before
    anything was taken, there is nothing to go on with.

    Raises
    ------
    KeyboardInterrupt : that
    """
    n = 0

    def took(one: T) -> None:
        nonlocal n
        n += 1
        take(one)

    try:
        for one in found:
            took(one)
    except KeyboardInterrupt:
        with contextlib.suppress(KeyboardInterrupt, StopIteration):
            took(found.throw(KeyboardInterrupt))  # wherever it came: it knows now
            for one in found:
                took(one)
        if not n:
            raise
        return True
    return False


def end_soon(code: int) -> None:
    """This process is done and is about to end: with ``code``, also if a thread or a last
    wish of somebody else's code would keep it."""
    last = threading.Timer(LAST_S, os._exit, (code,))
    last.daemon = True
    with contextlib.suppress(RuntimeError, MemoryError):  # no thread can be started
        last.start()


def as_helper() -> None:
    """This process works for the one that started it, which alone hears the signals; when
    that ends, so does this."""
    parent = os.getppid()
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended meanwhile
        os._exit(Exit.INTERRUPTED)


def _repeat() -> None:
    _EAR.since = None
    os.kill(os.getpid(), _EAR.number)


def _again(lost: Any) -> None:
    """Python tells what it dropped."""
    if lost.exc_type is KeyboardInterrupt and interrupted():
        # Not from here: what is raised in this hook is dropped too.
        again = threading.Timer(AGAIN_S, _repeat)
        again.daemon = True
        again.start()
        return
    sys.__unraisablehook__(lost)
