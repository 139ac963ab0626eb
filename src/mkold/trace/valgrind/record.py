"""Record a program's memory accesses by running it under valgrind's lackey.

Rules
-----
1. The program keeps its own standard input, output and error; lackey writes to a pipe.
2. Only the process that was started is traced: children that it forks or executes run, but
   are not recorded.
3. Ctrl-C (SIGTERM, SIGHUP), a full disk, or the bound on accesses ends the program; what was
   recorded until then is kept, and the header says why the recording stopped.
4. How the program itself ended (exit status, or minus the signal) goes to the header.

Known limit: lackey serialises threads and slows a program down some hundred times.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mkold.base import signals
from mkold.base.errors import InputError, UsageError
from mkold.base.shown import shown
from mkold.trace.feed import Limits, Progress, feed
from mkold.trace.fold import Folder, Origin
from mkold.trace.formats.lackey import parse

_F_SETPIPE_SZ = 1031  # Linux; the fcntl module has it from Python 3.10 on, not everywhere
_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_GRACE_S = 2.0


def record(
    command: Sequence[str], folder: Folder, limits: Limits, progress: Progress
) -> Origin:
    """Run ``command`` under lackey and fold its accesses.

    Parameters
    ----------
    command : program and arguments; no shell is involved
    folder : takes the accesses; its own bound is ``limits.max_accesses``
    progress : called now and then with the accesses and rows so far

    Raises
    ------
    UsageError : no such program
    InputError : valgrind is missing, or did not run the program
    """
    valgrind = _valgrind()
    if shutil.which(command[0]) is None:
        raise UsageError(f"no such program: {shown(command[0], most=200)}")
    origin = Origin(shlex.join(command), _version(valgrind), limits.instructions)
    read_end, write_end = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(read_end, _F_SETPIPE_SZ, _PIPE_BYTES)
    options = ["--tool=lackey", "--trace-mem=yes", "--child-silent-after-fork=yes"]
    process: subprocess.Popen[bytes] | None = None
    status: int | None = None
    stopped = "interrupted"
    try:
        with signals.whole():
            process = subprocess.Popen(
                [valgrind, *options, f"--log-fd={write_end}", *command], pass_fds=[write_end]
            )
            os.close(write_end)
        text = _pipe(read_end, process)
        parsed = parse(text, name="valgrind", instructions=limits.instructions, cut=True)
        stopped = feed(parsed, folder, progress)
    except KeyboardInterrupt:
        pass
    finally:
        os.close(read_end)
        if process is not None:
            status = _reap(process, stop=stopped != "end")
    if stopped == "end" and not folder.n_accesses:
        raise InputError(f"valgrind recorded nothing and ended with status {status}")
    return replace(origin, stopped=stopped, exit_status=status if stopped == "end" else None)


def _pipe(fd: int, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What the pipe gives until it closes, or is empty after the program has ended.

    A daemon that the program left behind may hold the pipe open for ever.
    """
    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLHUP)
    while True:
        ended = process.poll() is not None
        if not poller.poll(0 if ended else 200):
            if ended:
                return
            continue
        chunk = os.read(fd, _READ_BYTES)
        if not chunk:
            return
        yield chunk


def _reap(process: subprocess.Popen[bytes], *, stop: bool) -> int:
    """Wait for the program; if it must stop, ask first and then insist."""
    if not stop:
        return process.wait()
    for number in (signal.SIGTERM, signal.SIGKILL):
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_GRACE_S)
    return process.wait()


def _valgrind() -> str:
    found = shutil.which("valgrind")
    if found is None:
        raise InputError(
            "valgrind is not installed, and recording needs it: install the package "
            "`valgrind` (Debian, Ubuntu: apt install valgrind), or import a lackey text "
            "recorded elsewhere with --import"
        )
    return found


def _version(valgrind: str) -> str:
    run = subprocess.run(
        [valgrind, "--version"], capture_output=True, text=True, check=False, timeout=30
    )
    if run.returncode:
        raise InputError(f"{valgrind} does not run: {run.stderr.strip()[:200]}")
    return f"{run.stdout.strip()} lackey"
