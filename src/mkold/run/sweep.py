"""A grid of runs: which points it has, and the table of what they gave.

A sweep is written ``vcpus=1..4,interval=10:50:200,pages=64k..1Mx2``: keys with values, one
value or several with ``:`` between, or a range of whole numbers, ``x2`` for doubling. The
first key changes slowest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mkold.base.errors import UsageError
from mkold.run.results import RunResult
from mkold.run.spec import MachineSpec

MAX_POINTS = 10_000
_SCALES = {"k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

Point = dict[str, float]


@dataclass(frozen=True, slots=True)
class _Key:
    """A key: its unit in words, whether it counts, and the machine that it makes."""

    unit: str
    whole: bool
    machine: Callable[[MachineSpec, float], MachineSpec]


KEYS: dict[str, _Key] = {
    "vcpus": _Key("vCPUs", True, lambda m, v: replace(m, vcpus=int(v))),
    "pages": _Key("pages of each vCPU", True, lambda m, v: m),
    "interval": _Key("ms between passes", False, lambda m, v: replace(m, interval_s=v / 1e3)),
    "memory-share": _Key("frames over pages", False, lambda m, v: replace(m, memory_share=v)),
    "swap-latency": _Key("us for a page from swap", False,
                         lambda m, v: replace(m, swap_latency_us=v)),
    "tlb-entries": _Key("TLB entries", True, lambda m, v: replace(m, tlb_entries=int(v))),
    "switch-interval": _Key("ms between world switches", False,
                            lambda m, v: replace(m, switch_interval_s=v / 1e3)),
}  # fmt: skip


def parse(text: str) -> dict[str, list[float]]:
    """The keys and values of a sweep.

    Raises
    ------
    UsageError : naming the part that makes no sense
    """
    grid: dict[str, list[float]] = {}
    for part in text.split(","):
        key, equals, values = part.strip().partition("=")
        if key not in KEYS or not equals:
            known = "\n".join(f"  {name:16} {k.unit}" for name, k in KEYS.items())
            raise UsageError(f"--sweep {part}: KEY=VALUES with one of the keys\n{known}")
        if key in grid:
            raise UsageError(f"--sweep {part}: {key} stands twice")
        grid[key] = [v for word in values.split(":") for v in _values(part, word, KEYS[key])]
    if math.prod(len(values) for values in grid.values()) > MAX_POINTS:
        raise UsageError(f"--sweep {text}: more than {MAX_POINTS:,} points")
    return grid


def _values(part: str, word: str, key: _Key) -> list[float]:
    first, dots, rest = word.partition("..")
    if not dots:
        return [_number(part, word, key)]
    last, times, factor = rest.partition("x")
    low, high = _number(part, first, key), _number(part, last, key)
    step = _number(part, factor, key) if times else 0.0
    if low > high or (times and step <= 1):
        raise UsageError(f"--sweep {part}: {word} is no range")
    found = [low]
    while len(found) <= MAX_POINTS:
        following = found[-1] * step if times else found[-1] + 1
        if following > high:
            break
        found.append(following)
    return found


def _number(part: str, text: str, key: _Key) -> float:
    scale = _SCALES.get(text[-1:], 1)
    percent = text.endswith("%")
    digits = text[:-1] if scale > 1 or percent else text
    try:
        value = float(digits) * scale / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0) or (key.whole and value != int(value)):
        kind = "a whole number above 0" if key.whole else "a number above 0"
        raise UsageError(f"--sweep {part}: {text or 'nothing'} is not {kind}")
    return value


def points(grid: Mapping[str, Sequence[float]]) -> list[Point]:
    """Every combination, the first key changing slowest."""
    keys = list(grid)
    return [
        dict(zip(keys, values, strict=True)) for values in itertools.product(*grid.values())
    ]


def machine_at(point: Point, machine: MachineSpec) -> MachineSpec:
    """``machine`` with the values of ``point``.

    Raises
    ------
    UsageError : a value makes no sense
    """
    for key, value in point.items():
        machine = KEYS[key].machine(machine, value)
    return machine.check()


def rows(point: Point, result: RunResult) -> list[dict[str, Any]]:
    """The point's rows of the table, one for each path: keys, figures, what is compared with
    ``locked``, and whether threads had to share cores."""
    found = []
    for path in result.paths:
        compared = {
            f"{c.figure}_over_{c.base}{suffix}": value
            for c in result.comparisons
            if c.path == path.path
            for suffix, value in (("", c.ratio), ("_low", c.low), ("_high", c.high))
        }
        own = {"guest": result.trace.name, "path": path.path, "rounds": len(path.rounds)}
        found.append({**point, **own, **path.figures, **compared,
                      "spoiled": " ".join(result.spoiled)})  # fmt: skip
    return found
