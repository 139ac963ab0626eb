"""Guests of the guest: L1 and L2 vCPUs, aging, eviction and L1's tlbies together.

Two vCPUs run L2 and one runs L1 on the same pages, by other page numbers; one more of L1 takes
pages from L2 and gives them back. Then the books must agree, and everything be given back. The
VM's mode may change meanwhile too, which ends L2 each time.
"""

from __future__ import annotations

import time

import pytest
from nested_machine import Nested
from run_stress import LONG_S
from run_traces import hot_and_cold

from mkold.base.errors import UsageError
from mkold.kvm.powerpc.nested.l1 import l1_pages
from mkold.run.measure import run
from mkold.run.spec import MachineSpec, RunSpec

SWITCH_S = 0.02


def stress(
    path: str, seconds: float, *, checked: bool, lockless: bool, switches: bool = False
) -> Nested:
    """Run it; ``lockless``: the fast path does not refuse. Stopped, in radix mode."""
    machine = Nested(path, checked=checked, lockless=lockless)
    machine.start()
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until and machine.running:
            time.sleep(SWITCH_S)
            for radix in (0, 1) if switches else ():
                assert not machine.call("kvm_vm_ioctl_configure_mmu", machine.kvm.at, radix)
                time.sleep(SWITCH_S / 4)
        before = [guest["accesses"] for guest in machine.guests[:-1]]
        until = time.monotonic() + 20
        while time.monotonic() < until and machine.running:
            time.sleep(0.02)
            now = [guest["accesses"] for guest in machine.guests[:-1]]
            if all(n > b for n, b in zip(now, before, strict=True)):
                break
        else:
            assert not machine.running, "a vCPU stands still"
    finally:
        machine.stop()
    return machine


PATHS = [("locked", False), ("lockless", False), ("lockless", True)]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "lockless"), PATHS)
def test_short_stress_with_every_access_checked(path: str, lockless: bool) -> None:
    machine = stress(path, 1.5, checked=True, lockless=lockless)
    assert sum(v["stat.retries"] for v in machine.vcpus[:-2]) > 0, "no fault was L1's"
    assert bool(machine.kvm["stat.fast_refused"]) == (path == "lockless" and not lockless)
    machine.check()


@pytest.mark.slow
@pytest.mark.parametrize(("path", "lockless"), PATHS)
def test_short_stress_while_the_mode_changes(path: str, lockless: bool) -> None:
    machine = stress(path, 1.5, checked=True, lockless=lockless, switches=True)
    assert machine.entered > 2, "L2 runs again after each change"
    machine.check()


@pytest.mark.slow
@pytest.mark.parametrize(("path", "lockless"), PATHS)
@pytest.mark.parametrize("checked", [True, False])
def test_long_stress(path: str, lockless: bool, checked: bool) -> None:
    stress(path, LONG_S, checked=checked, lockless=lockless).check()


@pytest.mark.slow
@pytest.mark.parametrize(("path", "lockless"), PATHS)
def test_long_stress_while_the_mode_changes(path: str, lockless: bool) -> None:
    stress(path, 2 * LONG_S, checked=False, lockless=lockless, switches=True).check()


def seen(variant: str, path: str) -> float:
    """Which share of the pages that L2 touches the passes of ``path`` see young."""
    machine = MachineSpec(
        vcpus=1, memory_share=1.0, interval_s=0.02, nested=True, variant=variant
    )
    spec = RunSpec(paths=(path,), rounds=1, duration_s=1.5)
    result = run(hot_and_cold(), machine, spec=spec)
    assert not result.wrong
    return result.path(path)["young_seen_share"]


@pytest.mark.slow
def test_what_the_host_sees_of_l2() -> None:
    assert seen("", "locked") > 0.9
    assert seen("", "lockless") < 0.1, "it refuses"
    assert seen("as_posted", "lockless") < 0.1, "it looks at L1's entries alone"
    assert seen("nested_lockless", "lockless") > 0.9


def test_l1_keeps_its_tables_in_front() -> None:
    assert l1_pages(8, 3) == 2
    assert l1_pages(9, 3) == 1 + 1 + 2
    assert l1_pages(64, 3) == 1 + 1 + 8
    assert l1_pages(65, 3) == 1 + 1 + 2 + 9


def test_a_vm_in_hash_mode_has_no_guests_of_its_own() -> None:
    with pytest.raises(UsageError, match="mode hash"):
        MachineSpec(nested=True, mmu="hash").check()
