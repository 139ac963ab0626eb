"""What lackey prints of a program and all that it starts: a log a process, as it grows.

Rules
-----
1. Each process has an address space of its own: number ``n``, from 0 in the order in which they
   were met, adds ``n << SPACE_SHIFT`` to its page numbers. A process that becomes another
   program (``exec``) has a new one.
2. Accesses of processes that run at once are interleaved as they are read, a block at a time.
3. What was read is given back to the disk. Once the program itself has ended, what its
   children left behind are doing is read no more, and they are ended.

Known limits: what a process did in the last moment before an ``exec`` may be lost, since
valgrind starts its log anew; memory that a fork shares with its parent is another process's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from mkold.base import signals
from mkold.base.errors import LimitError
from mkold.base.output import scratch_folder
from mkold.trace.accesses import Accesses
from mkold.trace.formats.block import Block
from mkold.trace.formats.lackey import SHAPE
from mkold.trace.formats.reading import BLOCK_BYTES, Reading

SPACE_SHIFT = 36  # page numbers of user addresses of 48 bits
MOST_SPACES = 1 << 16
_POLL_S = 0.01
_LETTERHEAD = 200  # bytes of a log that tell it from another of the same name
_PUNCH_HOLE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_MOST_NAMES = 8


class Logs:
    """Where lackey is to print, and what it printed. Use as a context manager."""

    def __init__(self, instructions: bool) -> None:
        self._instructions = instructions
        self._stack = contextlib.ExitStack()
        self._folder = self._stack.enter_context(scratch_folder())
        self.options = ("--trace-children=yes", f"--log-file={self._folder}/%p")
        self.files: tuple[int, ...] = ()
        self._logs: dict[str, _Log] = {}
        self._names: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            for pid, log in self._logs.items():
                with contextlib.suppress(OSError, ValueError):
                    if "lackey" in os.readlink(f"/proc/{pid}/exe"):
                        os.kill(int(pid), signal.SIGTERM)
                log.close()

    def accesses(self, process: subprocess.Popen[bytes]) -> Iterator[Accesses]:
        """All of it, until the program has ended and its logs are read."""
        while True:
            ended = signals.has_ended(process)
            n_read = 0
            for log in self._all():
                for batch in log.read():
                    n_read += 1
                    yield batch
            if ended and not n_read:
                return
            if not n_read:
                time.sleep(_POLL_S)

    def notes(self) -> list[str]:
        """Which processes are in the trace."""
        names = [log.name or "?" for log in self._logs.values()]
        names = self._names + [name for name in names if name]
        listed = ", ".join(names[:_MOST_NAMES])
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        return [f"{len(names)} address spaces, one a process and program: {listed}{more}"]

    def _all(self) -> list[_Log]:
        """The logs there are; one that was begun anew is another."""
        for pid in os.listdir(self._folder):
            log = self._logs.get(pid)
            if log is not None and not log.begun_anew():
                continue
            if log is not None:
                self._names.append(log.name)
                log.close()
            space = len(self._names) + len(self._logs) - (log is not None)
            if space >= MOST_SPACES:
                raise LimitError(f"more than {MOST_SPACES:,} processes were started")
            path = Path(self._folder, pid)
            self._logs[pid] = _Log(path, space, self._instructions)
        return list(self._logs.values())


class _Log:
    """The log of one process while it runs one program."""

    def __init__(self, path: Path, space: int, instructions: bool) -> None:
        self.name = ""
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._at = 0
        self._held = b""
        self._head = b""
        self._base = np.uint64(space << SPACE_SHIFT)
        self._reading = Reading(f"valgrind's log of process {path.name}", instructions)

    def close(self) -> None:
        """Forget the file."""
        os.close(self._fd)

    def begun_anew(self) -> bool:
        """Whether the process has become another program, whose log this is now."""
        if not self._head:
            return False
        if os.fstat(self._fd).st_size < self._at:
            return True
        return os.pread(self._fd, len(self._head), 0) != self._head

    def read(self) -> Iterator[Accesses]:
        """What has been written since, at most a block of it."""
        text = os.pread(self._fd, BLOCK_BYTES, self._at)
        if not text:
            return
        if len(self._head) < _LETTERHEAD:
            self._head = os.pread(self._fd, _LETTERHEAD, 0)
        self._at += len(text)
        text = self._held + text
        end = text.rfind(b"\n") + 1
        self._held = text[end:]
        if not end:
            return
        if not self.name:
            self.name = _program(text[:end])
        batch = SHAPE.block(Block(text[:end], SHAPE.separators), self._reading)
        self._reading.line += text.count(b"\n", 0, end)
        self._give_back()
        yield Accesses(batch.vpn % np.uint64(1 << SPACE_SHIFT) + self._base, batch.write)

    def _give_back(self) -> None:
        """The disk that what was read takes, where the system can; all but the first block."""
        start, size = 4096, (self._at - 4096) & ~4095
        if size > 0:
            with contextlib.suppress(AttributeError):
                fallocate = ctypes.CDLL(None).fallocate64
                fallocate.argtypes = (
                    ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong,
                )  # fmt: skip
                fallocate(self._fd, _PUNCH_HOLE, start, size)


def _program(text: bytes) -> str:
    """The name of the program, from the head of its log."""
    for line in text.split(b"\n", 12)[:12]:
        _, found, command = line.partition(b" Command: ")
        if found:
            return Path(command.split(b" ")[0].decode("utf-8", "replace")).name
    return ""
