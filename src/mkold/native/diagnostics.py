"""What native code recorded in the boot area: bugs, warnings, the stop word.

Rules
-----
* ``BUG_ON``, and each check of the checked build, records the first site, its CPU and the
  address or value at fault, counts, sets the stop word and leaves native code: every
  caller returns at once, down to Python.
* Other threads leave at their next ``cpu_relax()``, so none waits for ever on a lock that
  the failed one holds.
* ``WARN_ON_ONCE`` records the first site and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mkold.base.errors import MkoldError
from mkold.ir import boot
from mkold.native.llvm.sites import Site
from mkold.native.memory import Memory


@dataclass(frozen=True, slots=True)
class Finding:
    """The first failure: where, on which CPU, the address or value, and how many in all."""

    site: Site
    cpu: int
    value: int
    count: int

    def __str__(self) -> str:
        return f"{self.site}: CPU {self.cpu}, word {self.value:#x}, {self.count} in all"


class KernelBugError(MkoldError):
    """BUG_ON, or a check of the checked build, failed in native code."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding)
        self.finding = finding

    def __str__(self) -> str:
        return str(self.finding)


class StoppedError(MkoldError):
    """Native code was left because the stop word is set."""

    def __init__(self) -> None:
        super().__init__("native code was stopped")


def diagnose(memory: Memory, sites: Sequence[Site]) -> Finding | None:
    """The first bug that was recorded in ``memory``, if any."""
    return _first(memory, sites, boot.BUG_SITE, boot.BUG_VALUE)


def warned(memory: Memory, sites: Sequence[Site]) -> Finding | None:
    """The first warning that was recorded in ``memory``, if any."""
    return _first(memory, sites, boot.WARN_SITE, None)


def _first(
    memory: Memory, sites: Sequence[Site], at: int, value_at: int | None
) -> Finding | None:
    number = int(memory.words[at])
    if number == 0:
        return None
    site = sites[number - 1] if number <= len(sites) else Site("unknown site", "?")
    value = 0 if value_at is None else int(memory.words[value_at])
    return Finding(site, int(memory.words[at + 2]), value, int(memory.words[at + 1]))
