"""QEMU as a process, and the line to the agent inside.

Rules
-----
* A command is a line; its answer is lines with ``@`` in front, of which the last begins with
  ``@.`` (done) or ``@!`` (refused). What else comes is the kernel's own output, and kept for
  errors.
* No answer in time, or an end of QEMU, is a ``TroubleError`` with the last of that output.
* QEMU is ended with the block, however it is left.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mkold.base import signals
from mkold.base.errors import Exit, MkoldError
from mkold.base.output import scratch_folder
from mkold.validate.rig.build import environment
from mkold.validate.rig.hosts import Host
from mkold.validate.rig.initrd import make
from mkold.validate.rig.setup import Rig

BOOT_S, ANSWER_S, END_S = 120.0, 60.0, 10.0
KEPT_LINES = 12
# On processor 1 nothing runs but what is put there; and no timer ticks.
ALONE = "isolcpus=managed_irq,domain,1 rcu_nocbs=1 irqaffinity=0"
NO_TICK = "nohz_full=1"


class TroubleError(MkoldError):
    """The machine did not do what it was told: no verdict about the system."""

    exit_code = Exit.UNDECIDED


class RefusedError(TroubleError):
    """The agent could not do a command."""


class Line:
    """The line to an agent."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._buffer = b""
        self._noise: deque[str] = deque(maxlen=KEPT_LINES)

    def ask(self, command: str, *, limit_s: float = ANSWER_S) -> list[str]:
        """The words of the answer's lines; the last one's without its mark.

        Raises
        ------
        RefusedError : with the agent's reason
        TroubleError : no answer
        """
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # that it ended is seen below
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()
        return self.answer(command, limit_s)

    def answer(self, command: str, limit_s: float) -> list[str]:
        """As ``ask``, of a command that was sent."""
        found: list[str] = []
        end = time.monotonic() + limit_s
        while True:
            text = self._next(command, end)
            if text.startswith("!"):
                raise RefusedError(f"the agent can't {command[:60]}:{text[1:]}")
            found.append(text.removeprefix(".").strip())
            if text.startswith("."):
                return found

    def _next(self, command: str, end: float) -> str:
        """The next line of an answer."""
        while True:
            raw, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                text = raw.decode("latin-1").strip("\r\0")
                if text.startswith("@"):
                    return text[1:]
                self._noise.append(text)
                continue
            self._read(command, end)

    def _read(self, command: str, end: float) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
        data = os.read(pipe.fileno(), 1 << 16) if ready else b""
        if not data:
            what = "no answer in time" if not ready else "QEMU ended"
            last = "\n  ".join(line for line in self._noise if line.strip())
            raise TroubleError(f"{what} to {command[:60]!r}; the last of its output:\n  {last}")
        self._buffer += data


def command_line(
    host: Host, rig: Rig, initrd: Path, console: Path, *, running: bool = False
) -> list[str]:
    """QEMU's words. ``running``: a second processor, which belongs to the vCPU alone."""
    own = rig.root / "usr/bin" / host.program
    program = str(own) if own.exists() else host.program
    roms = [rig.root / "usr/share" / name for name in ("qemu", "seabios")]
    places = [word for rom in roms if rom.is_dir() for word in ("-L", str(rom))]
    apart = ["-serial", f"file:{console}"] if host.apart else []
    append = f"{host.console} mkold_line={host.line} panic=-1 quiet loglevel=1 {host.append}"
    if running:
        append += f" {ALONE}" if host.needs_tick else f" {ALONE} {NO_TICK}"
    cpus = "2" if running else "1"
    return [
        program, *places, "-accel", "tcg", "-smp", cpus, "-display", "none", "-monitor", "none",
        "-nodefaults", "-no-reboot", *apart, *host.options, "-kernel", str(rig.image),
        "-initrd", str(initrd), "-append", append.strip(),
    ]  # fmt: skip


@contextmanager
def booted(host: Host, rig: Rig, *, running: bool = False) -> Iterator[Line]:
    """A machine that runs, its agent ready; ``running``: where a vCPU can run on.

    Raises
    ------
    TroubleError : it does not come up
    """
    with scratch_folder() as folder:
        initrd, console = folder / "initrd", folder / "console"
        initrd.write_bytes(make(rig.agent, rig.modules, host.modules, rig.module))
        words = command_line(host, rig, initrd, console, running=running)
        with tempfile.TemporaryFile() as errors:
            with signals.whole():
                process = _started(words, rig, errors.fileno())
            try:
                yield _ready(process, console, errors.fileno())
            finally:
                _end(process)


def _started(words: list[str], rig: Rig, errors: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            env=environment(rig.root), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise TroubleError(f"{words[0]} does not run: {error.strerror}") from error


def _ready(process: subprocess.Popen[bytes], console: Path, errors: int) -> Line:
    line = Line(process)
    try:
        words = line.answer("boot", BOOT_S)[-1].split()
    except TroubleError as error:
        said = os.pread(errors, 2000, 0).decode(errors="replace").strip()
        seen = console.read_text(errors="replace")[-1000:] if console.exists() else ""
        raise TroubleError(
            "\n".join(part for part in (str(error), said, seen) if part)
        ) from None
    if words[0] != "ready" or words[-1] != "1":
        raise TroubleError("the agent runs, but its module did not load")
    return line


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
