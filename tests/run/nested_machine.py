"""A machine whose last two vCPUs run L1 while the others run L2, on the same pages."""

from __future__ import annotations

import threading
from functools import cache

import nested_churn
from run_traces import hot_and_cold

from mkold.kvm.main import kvm_destroy_vm
from mkold.kvm.powerpc.machine import machine as powerpc
from mkold.kvm.powerpc.nested.enter import kvmhv_exit_nested_guest
from mkold.kvm.powerpc.nested.l1 import L2_LPID
from mkold.mm.slab import KmemCache, kmem_cache_nr_free
from mkold.native import Image, Memory, build
from mkold.run.audit import audit
from mkold.run.clock import cycles_per_second
from mkold.run.image import entries, parameters
from mkold.run.machine import FOREVER, Machine
from mkold.run.program import pack
from mkold.run.spec import MachineSpec
from mkold.sync.rcu import rcu_do_batch

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
        [*entries(powerpc, powerpc.nesting), *more],
        parameters(SPEC) | {"NESTED_LOCKLESS": int(lockless)},
        hooks=powerpc.hooks, checked=checked, optimised=not checked,
    )  # fmt: skip


class Nested(Machine):
    """The machine: of L1's vCPUs one replays, one churns.

    A vCPU whose guest has gone, as it does when the VM's mode changes, is given back to L1,
    which lets it run the guest again as soon as there can be one.
    """

    def __init__(self, path: str, *, checked: bool, lockless: bool) -> None:
        image = stress_image(checked, lockless)
        rate = cycles_per_second(image, Memory(1 << 16))
        program = pack(hot_and_cold(N_PAGES, 200_000), SPEC.page_shift)
        super().__init__(image, program, SPEC, path, rate)
        for guest, vcpu in list(zip(self.guests, self.vcpus, strict=True))[-2:]:
            self.call("kvmhv_exit_nested_guest", self.kvm.at, vcpu.at)
            guest["first_gfn"] = self.own_pages
        self.churns = self.entered = 0

    def _replay(
        self, cpu: int, guest: int, warmup: int, work: int, line: threading.Barrier
    ) -> None:
        line.wait()
        if cpu == SPEC.vcpus - 1:
            self._churn(cpu)
            return
        while not self._stopping.is_set():
            self.image.call("replay", self.memory, cpu, guest, FOREVER)
            if cpu == SPEC.vcpus - 2 or not self.guests[cpu]["failed"]:
                return
            self._enter_again(cpu)
            self.guests[cpu]["failed"] = 0

    def _enter_again(self, cpu: int) -> None:
        """L1 has its vCPU back, and lets it run its guest."""
        where = self.kvm.at, self.vcpus[cpu].at
        self.image.call("kvmhv_exit_nested_guest", self.memory, cpu, *where)
        enter = "kvmhv_enter_nested_guest"
        while self.image.call(enter, self.memory, cpu, *where, L2_LPID):
            if self._stopping.is_set():
                return
        self.entered += 1

    def _churn(self, cpu: int) -> None:
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
            if vcpu["arch.nested"]:
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

    def check(self) -> None:
        """Stopped: nothing is lost, the books agree, everything can be given back."""
        counters = self.counters()
        assert counters.mismatches == 0
        assert counters.evicted > 0
        assert self.churns > 0
        for cpu in range(SPEC.vcpus + 2):
            self.image.call("rcu_do_batch", self.memory, cpu)
        self.node["stop"] = 0  # the audit reads L1's tables, which may have to come from swap
        assert audit(self) == []
        self.destroy()
        assert set(self.left().values()) == {0}, self.left()
