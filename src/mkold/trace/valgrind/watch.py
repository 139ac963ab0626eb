"""Which other programs a process starts, as far as one sees from outside.

A thread looks at ``/proc`` now and then: programs that last shorter than ``EVERY_S`` may not be
seen. Children that run valgrind's own executable are copies of the program (forks).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from pathlib import Path

EVERY_S = 0.005
_MOST_NAMES = 6


class Watch:
    """Looks on from when it is made until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._programs: dict[int, str] = {}
        self._copies: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def notes(self) -> list[str]:
        """What was seen, in words; nothing if there was nothing."""
        names = Counter(self._programs.values())
        copies = self._copies - set(self._programs)
        told = []
        if names:
            listed = ", ".join(sorted(names)[:_MOST_NAMES])
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            told.append(
                f"not in the trace: the program started {sum(names.values())} other programs "
                f"that were seen ({listed}{more}); --children records them too"
            )
        if copies:
            told.append(
                f"not in the trace: {len(copies)} copies of itself that it forked; --children "
                "records them too"
            )
        return told

    def _look_on(self) -> None:
        while not self._ended.wait(EVERY_S):
            if "lackey" not in _executable(self._pid):
                continue  # valgrind is being started, by programs of its own
            waiting = _children(self._pid)
            while waiting:
                pid = waiting.pop()
                executable = _executable(pid)
                if "lackey" in executable:
                    self._copies.add(pid)
                elif executable:
                    self._programs[pid] = Path(executable).name
                waiting += _children(pid)


def _executable(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe")
    return ""


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/task/{task}/children").read_bytes()
                found += [int(word) for word in text.split()]
    return found
