"""Faults against each other, against aging and unmapping, on real threads; then the books."""

from __future__ import annotations

import threading
from functools import cache

import arm64_races
import pytest
from arm64_machine import ENTRIES, GEOMETRIES, SMALL, Machine

from mkold.claims.arm64.small_vm import tables_of
from mkold.kvm.arm64.asm.kvm_host import Vcpu
from mkold.kvm.arm64.machine import machine as arm64
from mkold.kvm.types import TlbEntry
from mkold.native import Image, KernelBugError, build

RACES = [arm64_races.race_map, arm64_races.race_age, arm64_races.race_unmap]


@cache
def racing(kernel: str, *, marker: int = 1) -> Image:
    """The loops; without the ``marker`` a broken entry is just empty."""
    settings = {
        **SMALL,
        **GEOMETRIES["two levels"],
        **tables_of(kernel),
        "NR_CPUS": 8,
        "BBM_MARKER": marker,
    }
    return build([*ENTRIES, *RACES], settings, hooks=arm64.hooks, checked=True, optimised=False)


def race(kernel: str, rounds: int, *, marker: int = 1) -> tuple[Machine, dict[str, int]]:
    """Two faulting vCPUs, an ager and the host; the stopped machine, and what they counted."""
    machine = Machine(racing(kernel, marker=marker))
    second = machine.new(Vcpu.size)
    machine("kvm_vcpu_init", machine.kvm, second, machine.new(TlbEntry.size << 4))
    stop = machine.new(8)
    counts: dict[str, int] = {}
    failed: list[BaseException] = []

    def run(name: str, cpu: int, *call: int | str) -> None:
        function, *args = call
        try:
            found = machine.image.call(str(function), machine.memory, cpu, *map(int, args))
            assert isinstance(found, int)
            counts[name] = found
        except BaseException as error:
            failed.append(error)

    mm, n = machine.mm, machine.n_gfns
    faults = [
        threading.Thread(
            target=run, args=(f"fault{i}", i, "race_map", machine.kvm, v, rounds, i)
        )
        for i, v in enumerate((machine.vcpu, second))
    ]
    others = [
        threading.Thread(target=run, args=("age", 2, "race_age", machine.kvm, n, stop)),
        threading.Thread(
            target=run, args=("unmap", 3, "race_unmap", mm, machine.hva, 16, stop)
        ),
    ]
    for thread in (*others, *faults):
        thread.start()
    for thread in faults:
        thread.join()
    machine.words[stop] = 1
    for thread in others:
        thread.join()
    assert not failed, failed[0]
    return machine, counts


def check(machine: Machine, counts: dict[str, int]) -> None:
    assert counts["age"] > 0
    assert counts["unmap"] > 0
    assert machine.audit() == 0
    for (level, gfn), (pfn, _) in machine.leaves().items():
        assert pfn - gfn in (64, 128), (level, gfn, pfn)


@pytest.mark.slow
def test_the_books_agree() -> None:
    check(*race("v2", 10_000))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["v2", "v3"])
def test_the_books_agree_for_long(kernel: str) -> None:
    for _ in range(3):
        check(*race(kernel, 500_000))


@pytest.mark.slow
def test_a_missing_marker_is_caught() -> None:
    for _ in range(100):
        try:
            check(*race("v2", 50_000, marker=0))
        except (AssertionError, KernelBugError):
            return
    raise AssertionError("no run of a hundred noticed that both made an entry")
