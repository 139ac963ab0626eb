"""What aging and reclaim cost so far, as far as counters tell.

Counters of ``/proc/vmstat`` count since the host was booted; ``between`` makes a rate of two
readings. Published times of a pass are put beside for scale: they are of another machine.

Source of the table: access_tracking_perf_test -p -l -b 1G -v N, x86 TDP MMU, no huge pages;
lore 20240529180510.2295118-1-jthoughton@google.com.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.host.facts import Facts
from mkold.host.files import Files

# vCPUs (1 GiB each): seconds of one pass with the lock, without it.
PUBLISHED = {
    1: (0.008236007, 0.007314582),
    2: (0.017989741, 0.013996319),
    4: (0.056164918, 0.029311993),
    8: (0.227419586, 0.063857740),
    16: (1.247142841, 0.121628689),
    32: (4.347290433, 0.250886289),
    64: (9.815592054, 1.392907010),
    112: (13.47381656, 2.292223850),
}
COUNTERS = (
    "workingset_refault_anon", "workingset_refault_file", "pgsteal_anon", "pgsteal_file",
    "pgscan_anon", "pgscan_file", "pswpin", "pswpout",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one time; ``uptime_s`` seconds after the boot."""

    uptime_s: float
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Costs:
    """What was counted in ``seconds``.

    Parameters
    ----------
    refaults : pages that came back after they had been reclaimed
    reclaimed, scanned : pages
    swapped_in : pages
    """

    seconds: float
    refaults: int
    reclaimed: int
    scanned: int
    swapped_in: int

    @property
    def refault_share(self) -> float | None:
        """Of the pages that were reclaimed, the share that came back: reclaim's errors."""
        return self.refaults / self.reclaimed if self.reclaimed else None


def read_counters(files: Files) -> Reading:
    """The counters now; those that the kernel lacks are 0."""
    counts = {}
    for line in files.read("/proc/vmstat").splitlines():
        name, _, number = line.partition(" ")
        if name in COUNTERS and number.strip().isdigit():
            counts[name] = int(number)
    uptime = files.read("/proc/uptime").split()
    try:
        seconds = float(uptime[0]) if uptime else 0.0
    except ValueError:
        seconds = 0.0
    return Reading(seconds, counts)


def between(first: Reading | None, last: Reading) -> Costs:
    """What was counted from ``first`` to ``last``; None: from the boot on."""
    start = first or Reading(0.0, {})

    def counted(*names: str) -> int:
        return sum(last.counts.get(n, 0) - start.counts.get(n, 0) for n in names)

    return Costs(
        seconds=last.uptime_s - start.uptime_s,
        refaults=counted("workingset_refault_anon", "workingset_refault_file"),
        reclaimed=counted("pgsteal_anon", "pgsteal_file"),
        scanned=counted("pgscan_anon", "pgscan_file"),
        swapped_in=counted("pswpin"),
    )


def published(facts: Facts) -> tuple[int, float, float] | None:
    """vCPUs, seconds with the lock and without it: the published row nearest to this host's
    guests; None if they are not known."""
    vcpus = sum(guest.vcpus for guest in facts.guests or ())
    if not vcpus:
        return None
    nearest = min(PUBLISHED, key=lambda n: abs(n - vcpus))
    return nearest, *PUBLISHED[nearest]
