"""What a machine counts, read from its memory at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkold.mm.mm_types import N_CPUS, VmEvents
from mkold.run.layout import Place

Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Counters:
    """The machine's counts at one moment; all only grow.

    ``fault_hist``: faults by latency in cycles (``mkold.kvm.types.HIST_BITS``).
    """

    cycles: int
    vcpu_cpu_s: float
    accesses: int
    passes: int
    entries: int
    walk_cycles: int
    lock_wait_cycles: int
    swap_wait_cycles: int
    reclaim_cycles: int
    faults: int
    refaults: int
    recent_refaults: int
    evicted: int
    young_reported: int
    young_true: int
    young_agreed: int
    mismatches: int
    fault_hist: Words


@dataclass(frozen=True, slots=True)
class Places:
    """Where the counts lie; ``hists`` are the vCPUs' latency histograms."""

    node: Place
    kswapd: Place
    guests: Sequence[Place]
    vcpus: Sequence[Place]
    hists: Sequence[Words]


def read_counters(places: Places, cycles: int, vcpu_cpu_s: float) -> Counters:
    """Counts now; the machine may run meanwhile, so they are not all of one moment."""
    node, kswapd, guests, vcpus = places.node, places.kswapd, places.guests, places.vcpus
    events = node.array("events").reshape(N_CPUS, VmEvents.size).sum(axis=0)

    def event(name: str) -> int:
        return int(events[VmEvents.offset(name)])

    return Counters(
        cycles=cycles,
        vcpu_cpu_s=vcpu_cpu_s,
        accesses=sum(guest["accesses"] for guest in guests),
        passes=kswapd["passes"],
        entries=node["lrugen.aging.entries"],
        walk_cycles=node["lrugen.aging.cycles"],
        lock_wait_cycles=sum(vcpu["stat.lock_wait_cycles"] for vcpu in vcpus),
        swap_wait_cycles=event("stall_cycles"),
        reclaim_cycles=event("direct_cycles"),
        faults=sum(vcpu["stat.faults"] - vcpu["stat.retries"] for vcpu in vcpus),
        refaults=event("workingset_refault"),
        recent_refaults=event("workingset_activate"),
        evicted=event("pgsteal"),
        young_reported=kswapd["young_reported"] * kswapd["sample"],
        young_true=kswapd["young_true"] * kswapd["sample"],
        young_agreed=kswapd["young_agreed"] * kswapd["sample"],
        mismatches=sum(guest["mismatches"] for guest in guests),
        fault_hist=np.sum(places.hists, axis=0, dtype=np.uint64),
    )
