"""arm64 under load: vCPUs, aging, eviction at once; then the books must agree.

The short versions have every access checked; ``MKOLD_STRESS_S`` sets how long each
of the others is.
"""

from __future__ import annotations

import time

import pytest
from run_stress import LONG_S
from run_traces import hot_and_cold

from mkold.native import KernelBugError, Memory
from mkold.run.audit import audit
from mkold.run.clock import cycles_per_second
from mkold.run.image import machine_image
from mkold.run.machine import Machine
from mkold.run.program import pack
from mkold.run.spec import MachineSpec


def stress(
    path: str, seconds: float, *, arch: str = "arm64", kernel: str = "v2", variant: str = "",
    page_size: str = "4k", checked: bool = True,
) -> Machine:  # fmt: skip
    """Run a machine of two vCPUs hard for ``seconds``; stopped, for the audit."""
    spec = MachineSpec(
        arch=arch, kernel=kernel, variant=variant, page_size=page_size, vcpus=2,
        memory_share=0.5, interval_s=0.001, swap_latency_us=2.0,
    )  # fmt: skip
    image = machine_image(spec, checked=checked)
    rate = cycles_per_second(image, Memory(1 << 16))
    program = pack(hot_and_cold(3000, 200_000), spec.page_shift)
    machine = Machine(image, program, spec, path, rate)
    machine.start()
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until and machine.running:
            time.sleep(0.02)
    finally:
        machine.stop()
    return machine


def check(machine: Machine) -> None:
    counters = machine.counters()
    assert counters.mismatches == 0
    assert sum(guest["poison_reads"] for guest in machine.guests) == 0
    assert audit(machine) == []
    assert counters.evicted > 0
    assert all(guest["accesses"] > 0 for guest in machine.guests)


@pytest.mark.slow
def test_short_stress() -> None:
    machine = stress("lockless", 1.0)
    check(machine)
    assert machine.kswapd["passes"] > 0
    assert machine.kvm["stat.fast_refused"] == 0


@pytest.mark.slow
def test_short_stress_of_both_kinds_of_cpus() -> None:
    check(stress("lockless", 1.0, kernel="v3", variant="mixed_af"))


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["arm64", "arm64-swaf"])
@pytest.mark.parametrize("kernel", ["v2", "v3", "6.15"])
@pytest.mark.parametrize("path", ["none", "locked", "lockless"])
def test_long_stress(arch: str, kernel: str, path: str) -> None:
    if (kernel, path) != ("6.15", "lockless"):
        check(stress(path, LONG_S, arch=arch, kernel=kernel))


@pytest.mark.slow
@pytest.mark.parametrize("page_size", ["16k", "64k"])
def test_long_stress_of_other_granules(page_size: str) -> None:
    check(stress("lockless", LONG_S, page_size=page_size))


@pytest.mark.slow
def test_long_stress_where_software_sets_the_bit() -> None:
    check(stress("lockless", LONG_S, arch="arm64-swaf", variant="swaf_lockless"))


@pytest.mark.slow
def test_a_lost_retry_check_is_caught() -> None:
    """The seeded fault makes a guest keep a frame that was taken from it."""
    for _ in range(60):
        try:
            machine = stress("lockless", 1.0, variant="no_retry_check", checked=False)
        except KernelBugError:
            return
        if machine.counters().mismatches > 0 or audit(machine) != []:
            return
    raise AssertionError("no run of sixty noticed the missing retry check")
