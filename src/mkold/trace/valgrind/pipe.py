"""What lackey prints of one process, through a pipe; its children are watched, not recorded."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import time
from collections.abc import Iterator
from typing import Self

from mkold.base import signals
from mkold.trace.accesses import Accesses
from mkold.trace.formats.lackey import parse
from mkold.trace.valgrind.watch import Watch

_F_SETPIPE_SZ = 1031  # Linux; the fcntl module has it from Python 3.10 on, not everywhere
_PIPE_BYTES = 1 << 20
_FEW_BYTES = 1 << 18
_REST_S = 0.004  # lackey writes line by line, and each would wake a reader that waits


class Pipe:
    """Where lackey is to print, and what it printed. Use as a context manager."""

    def __init__(self, instructions: bool) -> None:
        self._instructions = instructions
        self._read, self._write = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._read, _F_SETPIPE_SZ, _PIPE_BYTES)
        self.options = ("--child-silent-after-fork=yes", f"--log-fd={self._write}")
        self.files = (self._write,)
        self._watch: Watch | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (self._read, self._write):
            with contextlib.suppress(OSError):
                os.close(fd)
        if self._watch is not None:
            self._watch.stop()

    def accesses(self, process: subprocess.Popen[bytes]) -> Iterator[Accesses]:
        """All of it, to the end."""
        os.close(self._write)
        self._watch = Watch(process.pid)
        text = self._text(process)
        return parse(text, name="valgrind", instructions=self._instructions, cut=True)

    def notes(self) -> list[str]:
        """What is not in the trace."""
        return self._watch.notes() if self._watch is not None else []

    def _text(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """What the pipe gives until it closes, or is empty after the program has ended.

        A daemon that the program left behind may hold the pipe open for ever.
        """
        poller = select.poll()
        poller.register(self._read, select.POLLIN | select.POLLHUP)
        while True:
            ended = signals.has_ended(process)
            if not poller.poll(0 if ended else 200):
                if ended:
                    return
                continue
            chunk = os.read(self._read, _PIPE_BYTES)
            if not chunk:
                return
            yield chunk
            if len(chunk) < _FEW_BYTES and not ended:
                time.sleep(_REST_S)
