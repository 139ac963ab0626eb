"""A verb run, and what must never be seen of it.

In this process where that will do; else in one of its own, whose processes and files are
known by a word in their environment and by their folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mkold.base.errors import Exit
from mkold.cli.main import SIGPIPE_EXIT, main

ENDS = frozenset({0, 1, 2, 3, 4, int(Exit.INTERRUPTED), SIGPIPE_EXIT})
NEVER = (
    "Traceback (most recent",
    "internal error",
    "panicked at",
    "Exception ignored",
    "(in mkold, ",
)
MARK = "MKOLD_FAULT_RUN"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended; ``code`` is None if it had to be killed."""

    code: int | None
    out: str
    err: str

    def wrong(self) -> str:
        """What must not be, or nothing."""
        if self.code is None:
            return "no end"
        said = self.out + self.err
        found = [text for text in NEVER if text in said]
        if self.code not in ENDS:
            found.insert(0, f"exit {self.code}")
        last = said.strip().splitlines()[-3:] if found else []
        return "; ".join([*found, *last])


def here(*argv: str) -> Ran:
    """The verb in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(argv))
    return Ran(code, out.getvalue(), err.getvalue())


def started(word: str, folder: Path, *argv: str, **options: object) -> subprocess.Popen[str]:
    """The verb in a process of its own; ``word`` marks it and all that it starts."""
    environment = {**os.environ, MARK: word, "TMPDIR": str(folder)}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "mkold", *argv],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace", start_new_session=True, **options,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], limit_s: float) -> Ran:
    """Wait for its end; what does not end is killed."""
    try:
        out, err = process.communicate(timeout=limit_s)
        return Ran(process.returncode, out, err)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return Ran(None, out, err)


def survivors(word: str, patience_s: float = 3.0) -> list[int]:
    """Processes with that mark that are still there."""
    ends = time.monotonic() + patience_s
    while True:
        found = [pid for pid in _processes() if _has(pid, word)]
        if not found or time.monotonic() > ends:
            return found
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started."""
    with contextlib.suppress(OSError):
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def listens(pid: int) -> bool:
    """Whether a process has something to say to SIGTERM."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> signal.SIGTERM - 1 & 1)
    return False


def used_s(pid: int) -> float:
    """Processor time of a process so far."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _has(pid: int, word: str) -> bool:
    try:
        return f"{MARK}={word}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
