"""What else this host did while we measured, and what that says of the figures.

Read from /proc/stat (time of all cores, steal) and from the process's own CPU time. Where
there is no /proc/stat, nothing is said.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from mkold.run.spec import MachineSpec

STAT = Path("/proc/stat")
# Cores that other programs, or other guests of the same host, may take before it is said.
OTHERS_CORES = 0.2
STEAL_CORES = 0.05


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds since boot, over all cores: busy, taken by the hypervisor; and our own."""

    at_s: float
    busy_s: float
    steal_s: float
    own_s: float


def load() -> Load | None:
    """The counts now; None where the host does not tell."""
    try:
        fields = [int(word) for word in STAT.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    tick = 1 / os.sysconf("SC_CLK_TCK")
    busy = (user + nice + system + irq + softirq) * tick
    return Load(time.monotonic(), busy, steal * tick, time.process_time())


def spoiled(machine: MachineSpec, began: Load | None, ended: Load | None) -> tuple[str, ...]:
    """What makes the figures less sure, one sentence each."""
    found = []
    cores = len(os.sched_getaffinity(0))
    if machine.vcpus + 1 > cores:
        found.append(
            f"{machine.vcpus} vCPUs and the host's thread share {cores} cores: waiting for a "
            f"core counts as time of the guest. Fewer vCPUs would help."
        )
    if began is None or ended is None or ended.at_s <= began.at_s:
        return tuple(found)
    elapsed = ended.at_s - began.at_s
    others = (ended.busy_s - began.busy_s - (ended.own_s - began.own_s)) / elapsed
    if others > OTHERS_CORES:
        found.append(f"Other programs took {others:.1f} of the cores while this was measured.")
    steal = (ended.steal_s - began.steal_s) / elapsed
    if steal > STEAL_CORES:
        found.append(f"The hypervisor below took {steal:.2f} of the cores (steal time).")
    return tuple(found)
