"""x86-shadow under load: faults, aging, eviction, tables that are freed all the time; then the
books must agree.

All are marked slow; the short version has every address and every word read checked.
"""

from __future__ import annotations

import time

import pytest
from run_stress import LONG_S
from run_traces import hot_and_cold

from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.native import Memory
from mkold.run.audit import audit
from mkold.run.clock import cycles_per_second
from mkold.run.image import machine_image
from mkold.run.machine import Machine
from mkold.run.program import pack
from mkold.run.spec import MachineSpec

PAGES = 3000
# The guest takes two upper tables and six of base pages; below this many, old ones go.
FEW_TABLES = 12
N_MAX = Kvm.layout.field("arch.shadow.n_max_mmu_pages").offset


def stress(
    path: str,
    seconds: float,
    *,
    mmu: str = "ept",
    kernel: str = "6.15",
    checked: bool = True,
    few_tables: int = FEW_TABLES,
    nested: bool = False,
    arch: str = "x86-shadow",
) -> Machine:
    """Two vCPUs, memory for half of what they touch; stopped, for the audit."""
    spec = MachineSpec(
        arch=arch, vcpus=2, memory_share=0.5, interval_s=0.001, swap_latency_us=2.0,
        mmu=mmu, kernel=kernel, nested=nested,
    )  # fmt: skip
    image = machine_image(spec, checked=checked)
    rate = cycles_per_second(image, Memory(1 << 16))
    machine = Machine(
        image, pack(hot_and_cold(PAGES, 200_000), spec.page_shift), spec, path, rate
    )
    machine.memory.words[machine.kvm.at + N_MAX] = few_tables
    machine.start()
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until and machine.running:
            time.sleep(0.01)
    finally:
        machine.stop()
    return machine


def word(machine: Machine, field: str) -> int:
    """A word of the VM."""
    return int(machine.memory.words[machine.kvm.at + Kvm.layout.field(field).offset])


def check(machine: Machine, few_tables: int = FEW_TABLES) -> None:
    counters = machine.counters()
    assert counters.mismatches == 0
    assert sum(guest["poison_reads"] for guest in machine.guests) == 0
    assert audit(machine) == []
    assert counters.evicted > 0
    assert machine.kswapd["passes"] > 0
    assert 3 <= word(machine, "arch.shadow.n_used_mmu_pages") <= few_tables


@pytest.mark.slow
@pytest.mark.parametrize("mmu", ["ept", pytest.param("ept-noad", marks=pytest.mark.slow)])
def test_short_stress_with_every_access_checked(mmu: str) -> None:
    machine = stress("lockless", 1.0, mmu=mmu)
    check(machine)
    assert machine.kvm["stat.fast_refused"] == 0


# A guest of the guest takes some 430 tables of eight entries.
FEW_NESTED = 300


@pytest.mark.slow
def test_short_stress_of_a_guest_of_the_guest() -> None:
    """Beside the TDP MMU, as it is on any machine of today."""
    machine = stress("lockless", 1.0, nested=True, few_tables=FEW_NESTED, arch="x86")
    check(machine, FEW_NESTED)
    assert word(machine, "arch.indirect_shadow_pages") > 100
    assert word(machine, "arch.shadow_root_allocated") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "refused"), [("6.15", False), ("v2", True)])
def test_the_series_refuses_a_guest_of_the_guest(kernel: str, refused: bool) -> None:
    machine = stress(
        "lockless", 1.0, nested=True, few_tables=FEW_NESTED, arch="x86", kernel=kernel
    )
    check(machine, FEW_NESTED)
    assert (machine.kvm["stat.fast_refused"] > 0) == refused


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["x86", "x86-shadow"])
@pytest.mark.parametrize("path", ["locked", "lockless"])
def test_long_stress_of_a_guest_of_the_guest(path: str, arch: str) -> None:
    for checked in (True, False):
        machine = stress(
            path, LONG_S, nested=True, few_tables=FEW_NESTED, checked=checked, arch=arch
        )
        check(machine, FEW_NESTED)


@pytest.mark.slow
def test_the_series_has_no_way_here_without_the_lock() -> None:
    machine = stress("lockless", 0.5, mmu="ept", kernel="v2")
    check(machine)
    assert machine.kvm["stat.fast_refused"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["6.15", "6.12", "6.1"])
@pytest.mark.parametrize("mmu", ["ept", "ept-noad", "npt"])
def test_long_stress(mmu: str, kernel: str) -> None:
    for checked in (True, False):
        for path in ["locked", "lockless"] if kernel == "6.15" else ["locked"]:
            check(stress(path, LONG_S, mmu=mmu, kernel=kernel, checked=checked))
