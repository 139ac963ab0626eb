"""Everything at once: vCPUs, aging, eviction, mode switches; then the books must agree.

The short version runs always, with every address and every word read checked; the long
one is marked slow. ``MKOLD_STRESS_S`` sets how long that is.
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

SWITCH_S = 0.01


def stress(
    path: str, seconds: float, *, checked: bool, variant: str = "", stay: str = ""
) -> Machine:
    """Run a machine of two vCPUs hard for ``seconds``; stopped, for the audit.

    It changes between both modes, or stays in mode ``stay``.
    """
    spec = MachineSpec(
        vcpus=2, memory_share=0.5, interval_s=0.001, swap_latency_us=2.0, mmu=stay or "hash",
        variant=variant,
    )  # fmt: skip
    image = machine_image(spec, checked=checked)
    rate = cycles_per_second(image, Memory(1 << 16))
    program = pack(hot_and_cold(3000, 200_000), spec.page_shift)
    machine = Machine(image, program, spec, path, rate)
    kvm = machine.kvm.at
    machine.start()
    until = time.monotonic() + seconds
    switches = 0
    try:
        while time.monotonic() < until and machine.running:
            time.sleep(SWITCH_S)
            if not stay:
                assert machine.call("kvm_vm_ioctl_configure_mmu", kvm, switches & 1) == 0
            switches += 1
        done = machine.counters().accesses
        _wait_for_progress(machine, done)
    finally:
        machine.stop()
    assert switches >= min(20, 5 * seconds)
    return machine


def _wait_for_progress(machine: Machine, done: int) -> None:
    """No deadlock: every vCPU gets on after the last switch."""
    before = [guest["accesses"] for guest in machine.guests]
    until = time.monotonic() + 20
    while time.monotonic() < until and machine.running:
        time.sleep(0.02)
        if all(g["accesses"] > b for g, b in zip(machine.guests, before, strict=True)):
            return
    assert not machine.running, f"a vCPU stands still after {done} accesses"


def check(machine: Machine) -> None:
    counters = machine.counters()
    assert counters.mismatches == 0
    assert sum(guest["poison_reads"] for guest in machine.guests) == 0
    assert audit(machine) == []
    assert counters.evicted > 0
    assert counters.accesses > 0


@pytest.mark.parametrize(
    "path", ["lockless", *(pytest.param(p, marks=pytest.mark.slow) for p in ("locked", "none"))]
)
def test_short_stress_with_every_access_checked(path: str) -> None:
    check(stress(path, 1.5, checked=True))


@pytest.mark.parametrize("path", [pytest.param("locked", marks=pytest.mark.slow), "lockless"])
def test_short_stress_in_hash_mode(path: str) -> None:
    machine = stress(path, 1.5, checked=True, stay="hash")
    check(machine)
    passes, refused = machine.kswapd["passes"], machine.kvm["stat.fast_refused"]
    assert passes > 0
    assert bool(refused) == (path == "lockless"), "a fast path is refused, if it is tried"


@pytest.mark.slow
def test_short_stress_under_pr() -> None:
    machine = stress("lockless", 1.5, checked=True, stay="pr")
    check(machine)
    assert machine.kvm["stat.fast_refused"] == 0, "the gate is shut"


@pytest.mark.slow
@pytest.mark.parametrize("path", ["locked", "lockless"])
def test_long_stress_in_hash_mode(path: str) -> None:
    check(stress(path, LONG_S, checked=True, stay="hash"))


@pytest.mark.slow
@pytest.mark.parametrize("path", ["locked", "lockless"])
@pytest.mark.parametrize("checked", [True, False])
def test_long_stress(path: str, checked: bool) -> None:
    machine = stress(path, LONG_S, checked=checked)
    check(machine)


@pytest.mark.slow
def test_a_lost_retry_check_is_caught() -> None:
    """The seeded fault makes a guest keep a frame that was taken from it."""
    caught = False
    for _ in range(60):
        try:
            machine = stress("lockless", 1.0, checked=False, variant="no_retry_check")
        except KernelBugError:
            caught = True
        else:
            caught = machine.counters().mismatches > 0 or audit(machine) != []
        if caught:
            return
    raise AssertionError("no run of sixty noticed the missing retry check")
