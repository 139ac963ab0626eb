"""Record a program's memory accesses by running it under valgrind's lackey.

Rules
-----
1. The program keeps its own standard input, output and error; lackey writes elsewhere.
2. Only the process that was started is traced, unless its children are asked for: then each
   has an address space of its own (``logs``). What is left out is told (``watch``).
3. Ctrl-C (SIGTERM, SIGHUP), a full disk, or the bound on accesses ends the program; what was
   recorded until then is kept, and the header says why the recording stopped.
4. How the program itself ended (exit status, or minus the signal) goes to the header.

Known limit: lackey serialises threads and slows a program down some hundred times.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import replace

from mkold.base import signals
from mkold.base.errors import InputError, UsageError
from mkold.base.shown import shown
from mkold.trace.feed import Limits, Progress, feed
from mkold.trace.fold import Folder, Origin
from mkold.trace.valgrind.logs import Logs
from mkold.trace.valgrind.pipe import Pipe

_GRACE_S = 2.0
# Its debugger's pipes would be left in the folder for temporary files where it is killed.
_OPTIONS = ("--tool=lackey", "--trace-mem=yes", "--vgdb=no")


def record(
    command: Sequence[str], folder: Folder, limits: Limits, progress: Progress,
    *, children: bool = False,
) -> tuple[Origin, list[str]]:  # fmt: skip
    """Run ``command`` under lackey and fold its accesses; and what the user is to be told.

    Parameters
    ----------
    command : program and arguments; no shell is involved
    folder : takes the accesses; its own bound is ``limits.max_accesses``
    progress : called now and then with the accesses and rows so far
    children : record the processes that it starts, too

    Raises
    ------
    UsageError : no such program
    InputError : valgrind is missing, or did not run the program
    """
    valgrind = _valgrind()
    if shutil.which(command[0]) is None:
        raise UsageError(f"no such program: {shown(command[0], most=200)}")
    origin = Origin(shlex.join(command), _version(valgrind), limits.instructions)
    process: subprocess.Popen[bytes] | None = None
    status: int | None = None
    stopped = "interrupted"
    with (Logs if children else Pipe)(limits.instructions) as printed:
        try:
            with signals.whole():
                process = subprocess.Popen(
                    [valgrind, *_OPTIONS, *printed.options, *command], pass_fds=printed.files
                )
            stopped = feed(printed.accesses(process), folder, progress)
        except KeyboardInterrupt:
            pass
        finally:
            if process is not None:
                status = _reap(process, stop=stopped != "end")
    if stopped == "end" and not folder.n_accesses:
        raise InputError(f"valgrind recorded nothing and ended with status {status}")
    ended = status if stopped == "end" else None
    return replace(origin, stopped=stopped, exit_status=ended), printed.notes()


def _reap(process: subprocess.Popen[bytes], *, stop: bool) -> int:
    """Wait for the program; if it must stop, ask first and then insist."""
    if not stop:
        with contextlib.suppress(KeyboardInterrupt):  # all is recorded: no need to wait
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
