"""How much memory there is, and how much a verb may take of it.

Rules
-----
1. The bound is the least of what the system says is available, what the container leaves,
   and the limit that the process was started with (``ulimit -v``).
2. By default a verb takes ``SHARE`` of that, divided among its processes.
3. What needs much says so before it takes it: ``require``. Over the bound is a
   ``LimitError``, an answer like any other.
"""

from __future__ import annotations

import resource
from pathlib import Path

from mkold.base.errors import LimitError

SHARE = 0.8
UNKNOWN = 4 << 30  # where the system does not say
_CGROUP = Path("/sys/fs/cgroup")


def available() -> int:
    """Bytes that this process could still take."""
    found = [_meminfo(), _container(), _own()]
    return min((n for n in found if n is not None), default=UNKNOWN)


def allowance(n_processes: int = 1) -> int:
    """The default bound in bytes for each of ``n_processes``."""
    return max(1, int(available() * SHARE) // max(1, n_processes))


def require(n_bytes: int, bound: int | None, what: str) -> None:
    """Say that ``what`` needs ``n_bytes``, before they are taken.

    Raises
    ------
    LimitError : that is more than ``bound`` (by default ``allowance()``)
    """
    bound = allowance() if bound is None else bound
    if n_bytes > bound:
        raise LimitError(
            f"{what} needs {in_words(n_bytes)} of memory, and {in_words(bound)} are allowed "
            "(--memory-limit; the default is from what the machine has)"
        )


def in_words(n_bytes: int) -> str:
    """A number of bytes for people."""
    for unit, shift in (("GiB", 30), ("MiB", 20)):
        if n_bytes >= 1 << shift:
            return f"{n_bytes / (1 << shift):.1f} {unit}"
    return f"{n_bytes / 1024:.1f} KiB"


def _meminfo() -> int | None:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return None


def _container() -> int | None:
    limit, used = (_read(_CGROUP / f"memory.{name}").strip() for name in ("max", "current"))
    if not (limit.isdigit() and used.isdigit()):
        return None
    return max(0, int(limit) - int(used))


def _own() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    pages = _read(Path("/proc/self/statm")).split()[:1]
    used = int(pages[0]) * resource.getpagesize() if pages else 0
    return max(0, soft - used)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
