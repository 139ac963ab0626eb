"""The figures of a path: each one a function of its rounds, and which of them compare.

A figure of several rounds is that of all their counts added up, never a mean or median of
ratios, so that the ratio of two paths is the ratio of the two columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mkold.run.interval import ratio
from mkold.run.results import Comparison, PathResult, Round

Value = Callable[[Sequence[Round]], float | None]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Parameters
    ----------
    key : its name in JSON
    title : its name in the table
    unit : "rate" (a second), "count", "ms", "us", "ns", "share"
    value : of any rounds together; None where there was nothing to measure
    compares : whether the ratio of two paths says something
    """

    key: str
    title: str
    unit: str
    value: Value
    compares: bool = True


def _over(above: str, below: str, scale: float = 1.0) -> Value:
    """The sum of one count over the sum of another."""

    def value(rounds: Sequence[Round]) -> float | None:
        total = sum(getattr(r, below) for r in rounds)
        return sum(getattr(r, above) for r in rounds) / total * scale if total else None

    return value


def _of_vcpu_time(part: str) -> Value:
    """A time that vCPUs lost, as a share of all their time."""

    def value(rounds: Sequence[Round]) -> float | None:
        total = sum(r.elapsed_s * r.vcpus for r in rounds)
        return sum(getattr(r, part) for r in rounds) / total if total else None

    return value


def _each_round(name: str) -> Value:
    """A count, as the mean over the rounds."""
    return lambda rounds: (
        sum(getattr(r, name) for r in rounds) / len(rounds) if rounds else None
    )


def _late(rounds: Sequence[Round]) -> float | None:
    reported = sum(r.young_reported for r in rounds)
    agreed = sum(r.young_agreed for r in rounds)
    return (reported - agreed) / reported if reported else None


def fault_percentile(rounds: Sequence[Round], share: float) -> float | None:
    """The latency in microseconds that ``share`` of the faults did not exceed."""
    counts: Counter[float] = Counter()
    for r in rounds:
        for ns, n in r.fault_ns:
            counts[ns] += n
    left = share * counts.total()
    for ns in sorted(counts):
        left -= counts[ns]
        if left <= 0:
            return ns / 1e3
    return None


def _fault(share: float) -> Value:
    return lambda rounds: fault_percentile(rounds, share)


GUEST_RATE = "guest_accesses_per_s"
PASS_MS = "aging_pass_ms"
AGING_SHARE = "aging_core_share"
SEEN = "young_seen_share"

FIGURES: tuple[Figure, ...] = (
    Figure(GUEST_RATE, "guest accesses per second", "rate", _over("accesses", "elapsed_s")),
    Figure("guest_accesses_per_cpu_s", "  by CPU time of the vCPUs", "rate",
           _over("accesses", "vcpu_cpu_s")),
    Figure("aging_passes", "aging passes in a round", "count", _each_round("passes"), False),
    Figure(PASS_MS, "an aging pass, ms", "ms", _over("walk_s", "passes", 1e3)),
    Figure(AGING_SHARE, "  passes, share of a core", "share", _over("walk_s", "elapsed_s")),
    Figure("aging_ns_per_pte", "  ns per entry", "ns", _over("walk_s", "entries", 1e9)),
    Figure("lock_wait_share", "vCPU time on mmu_lock", "share",
           _of_vcpu_time("lock_wait_s")),
    Figure("swap_wait_share", "vCPU time on swap", "share",
           _of_vcpu_time("swap_wait_s")),
    Figure("reclaim_share", "vCPU time reclaiming", "share",
           _of_vcpu_time("reclaim_s")),
    Figure("faults", "guest faults in a round", "count", _each_round("faults")),
    Figure("fault_p50_us", "  latency, p50, us", "us", _fault(0.5), False),
    Figure("fault_p99_us", "  p99", "us", _fault(0.99), False),
    Figure("fault_p99.9_us", "  p99.9", "us", _fault(0.999), False),
    Figure("fault_max_us", "  longest", "us", _fault(1.0), False),
    Figure("evicted", "pages evicted in a round", "count", _each_round("evicted")),
    Figure("refaults", "refaults in a round", "count", _each_round("refaults")),
    Figure("recent_refaults", "  of pages just evicted", "count",
           _each_round("recent_refaults")),
    Figure("young_true", "pages touched, by pass", "count", _over("young_true", "passes")),
    Figure(SEEN, "  of them seen young", "share", _over("young_agreed", "young_true")),
    Figure("young_late_share", "seen young, not touched", "share", _late, False),
)  # fmt: skip
BY_KEY = {figure.key: figure for figure in FIGURES}


def summarise(
    path: str, rounds: Sequence[Round], least_share: float | None = None
) -> PathResult:
    """All figures of one path."""
    figures = {f.key: f.value(rounds) for f in FIGURES}
    return PathResult(path, tuple(rounds), figures, least_share)


def comparisons(paths: Sequence[PathResult]) -> tuple[Comparison, ...]:
    """Every figure that compares, for each pair of ``pairs``."""
    by_label = {path.path: path for path in paths}
    found = []
    for other, base in pairs(list(by_label)):
        for figure in FIGURES:
            if figure.compares:
                rounds = by_label[other].rounds, by_label[base].rounds
                r = ratio(figure.value, *rounds)
                if r is not None:
                    found.append(Comparison(figure.key, other, base, r.value, r.low, r.high))
    return tuple(found)


def pairs(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Which paths to compare, (compared, base): the question first, then what it costs to
    age at all, then each path with its own repetition."""
    wanted = [("lockless", "locked"), ("lockless", "none"), ("locked", "none")]
    found = [pair for pair in wanted if set(pair) <= set(labels)]
    again = [(label, label.split(" #")[0]) for label in labels if " #" in label]
    return found + [pair for pair in again if pair[1] in labels]
