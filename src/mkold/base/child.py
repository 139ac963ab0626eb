"""Jobs in a fresh process: for libraries that may take the process down with them.

Rules
-----
1. A job is a function ``module:name`` that takes a JSON object and open files, and returns a
   JSON object. Large data goes through the files.
2. Whatever it does (a panic, an abort, a crash, no end to its memory) becomes an error here;
   what it says on the way is kept off the terminal. One that neither works nor answers for
   ``STUCK_S`` is ended: libraries wait for ever for threads that could not be started.
3. The process is deaf to signals. It serves job after job, ends ``IDLE_S`` after the last, and
   ends with this process, or when this one is interrupted.

Unlike a worker it is not forked, so neither side needs to be without threads.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mkold.base import errors, signals
from mkold.base.bounds import memory
from mkold.base.errors import InputError, LimitError, MkoldError
from mkold.base.shown import shown

IDLE_S = 2.0
STUCK_S = 8.0
_LOOK_S = 0.5
MOST_FILES = 4
_START = "import sys; sys.path[:] = {path!r}; from mkold.base.child import _serve; _serve({fd})"
_NO_MEMORY = (
    "memory allocation", "MemoryError", "out of memory", "bad_alloc", "Cannot allocate memory",
    "Resource temporarily unavailable",  # a thread that could not be started
)  # fmt: skip


def ask(
    function: str,
    request: dict[str, Any],
    files: Sequence[int] = (),
    *,
    memory_bytes: int | None = None,
) -> dict[str, Any]:
    """What ``function(request, files)`` answers.

    Parameters
    ----------
    files : descriptors; the function is given its own numbers for them
    memory_bytes : address space of the process, ``None`` for no limit

    Raises
    ------
    InputError : the job broke the process
    LimitError : it ran out of memory
    MkoldError : what the function raised
    """
    message = {"function": function, "request": request, "memory": memory_bytes}
    answer = None
    for _ in range(2):  # an idle one may have left just now
        helper = _helper()
        try:
            answer = helper.ask(json.dumps(message).encode(), files)
        except BaseException:
            helper.end()
            raise
        if answer is not None:
            break
        code, said = helper.end()
        if code != 0:
            raise _broken(code, said)
    if answer is None:
        raise InputError("the process that is to handle it does not start")
    if "answer" in answer:
        return dict(answer["answer"])
    raise getattr(errors, answer["error"])(answer["text"])


@dataclass(slots=True)
class _Helper:
    """The process, seen from here."""

    process: subprocess.Popen[bytes]
    line: socket.socket
    said: IO[bytes]
    owner: int

    def ask(self, message: bytes, files: Sequence[int]) -> dict[str, Any] | None:
        """The answer; None if it ended without one."""
        try:
            socket.send_fds(self.line, [len(message).to_bytes(8, "big")], list(files))
            self.line.sendall(message)
            self._wait()
            found = _receive(self.line, _receive(self.line, 8))
        except OSError:
            return None
        return None if found is None else dict(json.loads(found))

    def _wait(self) -> None:
        """Until there is an answer, or the end of the process."""
        work, since = -1, time.monotonic()
        while not select.select([self.line], [], [], _LOOK_S)[0]:
            now, done = time.monotonic(), _work(self.process.pid)
            if done is None or done != work:
                work, since = done or 0, now
            elif now - since > STUCK_S:
                raise LimitError("it does not go on, as where memory or threads are short")

    def end(self) -> tuple[int, str]:
        """Its exit code, once it has gone, and the last that it said."""
        global _IDLE
        _IDLE = None
        self.line.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)  # of its own; an abort takes a moment
        self.process.kill()
        code = self.process.wait()
        self.said.seek(max(0, self.said.seek(0, os.SEEK_END) - 4000))
        said = self.said.read().decode("utf-8", "replace")
        self.said.close()
        return code, said


_IDLE: _Helper | None = None


def dismiss() -> None:
    """End the idle process now; done by itself when this one ends."""
    if _IDLE is not None and _IDLE.owner == os.getpid():
        _IDLE.process.kill()
        _IDLE.end()


atexit.register(dismiss)


def _helper() -> _Helper:
    """The one there is, or a new one."""
    global _IDLE
    if _IDLE is not None and _IDLE.owner != os.getpid():
        _IDLE = None  # this process was forked: it is another's
    if _IDLE is not None and signals.has_ended(_IDLE.process):
        _IDLE.end()
    if _IDLE is None:
        try:
            with signals.whole():
                _IDLE = _start()
        except OSError as error:
            raise LimitError(f"no process could be started: {error.strerror}") from error
    return _IDLE


def _start() -> _Helper:
    ours, theirs = socket.socketpair()
    said = tempfile.TemporaryFile()  # noqa: SIM115 the helper closes it
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path, fd=theirs.fileno())],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=[theirs.fileno()],
        )  # fmt: skip
    return _Helper(process, ours, said, os.getpid())


def _work(pid: int) -> int | None:
    """Ticks of processor time that the threads of a process have used; None if one of them
    is at work now, or at the disk."""
    ticks = 0
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            state, *rest = stat.read_text().rpartition(")")[2].split()
            if state in "RD":
                return None
            ticks += int(rest[10]) + int(rest[11])
    return ticks


def _receive(line: socket.socket, size: bytes | int | None) -> bytes | None:
    """So many bytes, or as many as ``size`` says; None at the end."""
    if size is None:
        return None
    left = size if isinstance(size, int) else int.from_bytes(size, "big")
    found = bytearray()
    while len(found) < left:
        part = line.recv(min(1 << 20, left - len(found)))
        if not part:
            return None
        found += part
    return bytes(found)


def _broken(code: int, said: str) -> MkoldError:
    if code == -signal.SIGKILL or any(word in said for word in _NO_MEMORY):
        return LimitError("out of memory")
    how = signal.Signals(-code).name if code < 0 else f"status {code}"
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
    what = f"{how}: {shown(last, most=160)}" if last else how
    return InputError(f"the library for such files broke down ({what})")


# -- the other side -------------------------------------------------------------------------


def _serve(fd: int) -> None:
    line = socket.socket(fileno=fd)
    signals.as_helper()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        line.settimeout(IDLE_S)
        try:
            size, files, _, _ = socket.recv_fds(line, 8, MOST_FILES)
        except OSError:
            os._exit(0)
        line.settimeout(None)
        message = _receive(line, size) if len(size) == 8 else None
        if message is None:
            os._exit(0)  # whatever threads the library left
        answer = json.dumps(_answer(json.loads(message), files)).encode()
        for file in files:
            os.close(file)
        line.sendall(len(answer).to_bytes(8, "big") + answer)


def _answer(message: dict[str, Any], files: list[int]) -> dict[str, Any]:
    size = message["memory"]
    module, _, name = message["function"].partition(":")
    try:
        with contextlib.nullcontext() if size is None else memory(size):
            function = getattr(importlib.import_module(module), name)
            return {"answer": function(message["request"], files)}
    except MkoldError as error:
        kind = next(c for c in type(error).__mro__ if c in (InputError, LimitError, MkoldError))
        return {"error": kind.__name__, "text": str(error)}
    except MemoryError:
        return {"error": "LimitError", "text": "out of memory"}
