"""The TDP MMU with everything at once: vCPUs, aging, eviction, roots that go; then the books
must agree.

The short version runs always, with every address and every word read checked; the long one is
marked slow. ``MKOLD_STRESS_S`` sets how long that is.
"""

from __future__ import annotations

import time

import pytest
from run_stress import LONG_S
from run_traces import hot_and_cold

from mkold.kvm.architectures import ARCHITECTURES
from mkold.native import KernelBugError, Memory
from mkold.run.audit import audit
from mkold.run.clock import cycles_per_second
from mkold.run.image import machine_image
from mkold.run.machine import Machine
from mkold.run.program import pack
from mkold.run.spec import MachineSpec


@pytest.fixture(autouse=True)
def restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "x86-restarts", "tdp_restarts:machine")
    monkeypatch.setitem(ARCHITECTURES, "noad-restarts", "tdp_restarts:noad")


def stress(
    arch: str, path: str, seconds: float, *, kernel: str = "", variant: str = "",
    checked: bool = True,
) -> Machine:  # fmt: skip
    """Run two vCPUs hard for ``seconds``, all tables going now and then; stopped."""
    spec = MachineSpec(
        arch=arch, kernel=kernel, vcpus=2, memory_share=0.5, interval_s=0.001,
        swap_latency_us=2.0, variant=variant,
    )  # fmt: skip
    image = machine_image(spec, checked=checked)
    rate = cycles_per_second(image, Memory(1 << 16))
    machine = Machine(
        image, pack(hot_and_cold(3000, 200_000), spec.page_shift), spec, path, rate
    )
    machine.start()
    until = time.monotonic() + seconds
    n = 0
    try:
        while time.monotonic() < until and machine.running:
            time.sleep(0.02)
            machine.call("start_over", machine.kvm.at, n & 1)
            n += 1
    finally:
        machine.stop()
    assert n >= min(10, 3 * seconds)
    return machine


def check(machine: Machine) -> None:
    counters = machine.counters()
    assert counters.mismatches == 0
    assert sum(guest["poison_reads"] for guest in machine.guests) == 0
    assert audit(machine) == []
    assert counters.evicted > 0
    assert counters.accesses > 0


@pytest.mark.parametrize(
    "arch", ["x86-restarts", pytest.param("noad-restarts", marks=pytest.mark.slow)]
)
def test_short_stress(arch: str) -> None:
    check(stress(arch, "lockless", 1.5))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["6.15", "v2", "6.12", "6.1"])
@pytest.mark.parametrize("arch", ["x86-restarts", "noad-restarts"])
def test_long_stress(arch: str, kernel: str) -> None:
    lockless = kernel == "6.15" or (kernel == "v2" and arch == "x86-restarts")
    for path in ("locked", "lockless") if lockless else ("locked",):
        check(stress(arch, path, LONG_S, kernel=kernel))


@pytest.mark.slow
def test_a_lost_retry_check_is_caught() -> None:
    """The seeded fault makes a guest keep a frame that was taken from it."""
    for _ in range(60):
        try:
            machine = stress(
                "x86-restarts", "lockless", 1.0, variant="no_retry_check", checked=False
            )
        except KernelBugError:
            return
        if machine.counters().mismatches > 0 or audit(machine) != []:
            return
    raise AssertionError("no run of sixty noticed the missing retry check")
