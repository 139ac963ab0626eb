"""Guests of the guest: L1 and L2 vCPUs, aging, eviction and L1's tlbies together.

Two vCPUs run L2 and one runs L1 on the same pages, by other page numbers; one more of L1 takes
pages from L2 and gives them back. Then the books must agree, and everything be given back.
"""

from __future__ import annotations

import os
import threading
import time
from functools import cache

import nested_churn
import pytest
from run_traces import hot_and_cold

from mkold.base.errors import UsageError
from mkold.kvm.main import kvm_destroy_vm
from mkold.kvm.powerpc.machine import machine as powerpc
from mkold.kvm.powerpc.nested.enter import kvmhv_exit_nested_guest
from mkold.kvm.powerpc.nested.l1 import l1_pages
from mkold.mm.slab import KmemCache, kmem_cache_nr_free
from mkold.native import Image, Memory, build
from mkold.run.audit import audit
from mkold.run.clock import cycles_per_second
from mkold.run.image import entries, parameters
from mkold.run.machine import Machine
from mkold.run.measure import run
from mkold.run.program import pack
from mkold.run.spec import MachineSpec, RunSpec
from mkold.sync.rcu import rcu_do_batch

LONG_S = float(os.environ.get("MKOLD_STRESS_S", "60"))
SPEC = MachineSpec(
    vcpus=4, memory_share=0.5, interval_s=0.002, swap_latency_us=2.0, nested=True
)
N_PAGES = 3000


@cache
def stress_image(checked: bool, lockless: bool) -> Image:
    more = [
        nested_churn.l1_churns, kvmhv_exit_nested_guest, kvm_destroy_vm, kmem_cache_nr_free,
        rcu_do_batch,
    ]  # fmt: skip
    return build(
        [*entries(powerpc), *more], parameters(SPEC) | {"NESTED_LOCKLESS": int(lockless)},
        hooks=powerpc.hooks, checked=checked,
    )  # fmt: skip


class Nested(Machine):
    """A machine whose last two vCPUs run L1: one replays, one churns."""

    def __init__(self, path: str, *, checked: bool, lockless: bool) -> None:
        image = stress_image(checked, lockless)
        rate = cycles_per_second(image, Memory(1 << 16))
        program = pack(hot_and_cold(N_PAGES, 200_000), SPEC.page_shift)
        super().__init__(image, program, SPEC, path, rate)
        for guest, vcpu in list(zip(self.guests, self.vcpus, strict=True))[-2:]:
            self.call("kvmhv_exit_nested_guest", self.kvm.at, vcpu.at)
            guest["first_gfn"] = self.own_pages
        self.churns = 0

    def _replay(
        self, cpu: int, guest: int, warmup: int, work: int, line: threading.Barrier
    ) -> None:
        if cpu != SPEC.vcpus - 1:
            super()._replay(cpu, guest, warmup, work, line)
            return
        line.wait()
        vcpu = self.vcpus[cpu].at
        while not self._stopping.is_set():
            pages = self.own_pages, self.program.n_pages
            failed = self.image.call("l1_churns", self.memory, cpu, self.kvm.at, vcpu, *pages,
                                     self.churns, 10)  # fmt: skip
            assert not failed or self._stopping.is_set()
            self.churns += 1

    def destroy(self) -> None:
        """Give everything back."""
        for vcpu in self.vcpus[:-2]:
            self.call("kvmhv_exit_nested_guest", self.kvm.at, vcpu.at)
        self.call("kvm_destroy_vm", self.kvm.at)
        for cpu in range(SPEC.vcpus + 2):
            self.image.call("rcu_do_batch", self.memory, cpu)

    def left(self) -> dict[str, int]:
        """Objects of the VM's caches that were not given back."""
        found = {}
        for name, n in (("arch.caches", 4), ("arch.nested_caches", 2)):
            first = self.kvm.at + self.kvm.kind.layout.field(name).offset
            for i in range(n):
                cache = first + i * KmemCache.size
                free = self.call("kmem_cache_nr_free", cache)
                made = int(self.memory.words[cache + KmemCache.offset("nr_objects")])
                assert isinstance(free, int)
                found[f"{name}[{i}]"] = made - free
        return found


def stress(path: str, seconds: float, *, checked: bool, lockless: bool) -> None:
    """Run it, then look through all books; ``lockless``: the fast path does not refuse."""
    machine = Nested(path, checked=checked, lockless=lockless)
    machine.start()
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until and machine.running:
            time.sleep(0.02)
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
    counters = machine.counters()
    assert counters.mismatches == 0
    for cpu in range(SPEC.vcpus + 2):
        machine.image.call("rcu_do_batch", machine.memory, cpu)
    assert bool(machine.kvm["stat.fast_refused"]) == (path == "lockless" and not lockless)
    machine.node["stop"] = 0  # the audit reads L1's tables, which may have to come from swap
    assert audit(machine) == []
    assert counters.evicted > 0
    assert machine.churns > 0
    assert sum(v["stat.retries"] for v in machine.vcpus[:-2]) > 0, "no fault was L1's"
    machine.destroy()
    assert set(machine.left().values()) == {0}, machine.left()


PATHS = [("locked", False), ("lockless", False), ("lockless", True)]


@pytest.mark.parametrize(("path", "lockless"), PATHS)
def test_short_stress_with_every_access_checked(path: str, lockless: bool) -> None:
    stress(path, 1.5, checked=True, lockless=lockless)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "lockless"), PATHS)
@pytest.mark.parametrize("checked", [True, False])
def test_long_stress(path: str, lockless: bool, checked: bool) -> None:
    stress(path, LONG_S / 4, checked=checked, lockless=lockless)


def seen(variant: str, path: str) -> float:
    """Which share of the pages that L2 touches the passes of ``path`` see young."""
    machine = MachineSpec(
        vcpus=1, memory_share=1.0, interval_s=0.02, nested=True, variant=variant
    )
    spec = RunSpec(paths=(path,), rounds=1, duration_s=1.5)
    result = run(hot_and_cold(), machine, spec=spec)
    assert not result.wrong
    return result.path(path)["young_seen_share"]


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
