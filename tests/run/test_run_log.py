"""The dirty log is read while vCPUs write, pages are aged and evicted, and modes switch."""

from __future__ import annotations

import time

import numpy as np
import pytest
from run_stress import LONG_S
from run_traces import hot_and_cold

from mkold.kvm.memslots import kvm_memslot_set_dirty_bitmap
from mkold.kvm.powerpc.mmu_hv import kvm_vm_ioctl_get_dirty_log_hv
from mkold.mm.page_alloc import memblock_alloc
from mkold.native import Memory, build
from mkold.run.audit import audit
from mkold.run.clock import cycles_per_second
from mkold.run.image import entries, parameters
from mkold.run.machine import Machine
from mkold.run.program import pack
from mkold.run.spec import MachineSpec

PAGES = 2000
LOG_WORDS = PAGES // 64 + 1
SPEC = MachineSpec(
    vcpus=2, memory_share=0.6, interval_s=0.002, swap_latency_us=2.0, mmu="hash"
).check()
MORE = (kvm_memslot_set_dirty_bitmap, kvm_vm_ioctl_get_dirty_log_hv, memblock_alloc)


class Logged:
    """A machine whose memslot is logged, and what was ever fetched of the log."""

    def __init__(self, path: str) -> None:
        arch = SPEC.architecture
        image = build(
            [*entries(arch), *MORE],
            parameters(SPEC),
            hooks=arch.hooks,
            checked=True,
            optimised=False,
        )
        rate = cycles_per_second(image, Memory(1 << 16))
        program = pack(hot_and_cold(PAGES, 100_000), SPEC.page_shift)
        self.machine = Machine(image, program, SPEC, path, rate)
        self.kvm = self.machine.kvm.at
        self.slot = self.kvm + arch.kvm.offset("slots")
        bitmap, fetched = (self.machine.call("memblock_alloc", LOG_WORDS) for _ in range(2))
        assert isinstance(bitmap, int)
        assert isinstance(fetched, int)
        self.fetched = fetched
        self.machine.call("kvm_memslot_set_dirty_bitmap", self.kvm, 0, bitmap)
        self.seen = np.zeros(LOG_WORDS, np.uint64)

    def fetch(self) -> None:
        """Fetch the log once more."""
        name = "kvm_vm_ioctl_get_dirty_log_hv"
        assert self.machine.call(name, self.kvm, self.slot, self.fetched) == 0
        self.seen |= self.machine.memory.words[self.fetched : self.fetched + LOG_WORDS]

    def logged(self, page: int) -> bool:
        """Whether the log ever had ``page``."""
        return bool(int(self.seen[page >> 6]) >> (page & 63) & 1)

    def written(self) -> list[np.ndarray]:
        """By vCPU, what it wrote last, by page."""
        words = self.machine.memory.words
        starts = [guest["written"] for guest in self.machine.guests]
        return [words[at : at + PAGES].copy() for at in starts]


def run(path: str, seconds: float, *, every: int) -> int:
    """``every``: how many fetches to a mode switch; pages written that no log knows of."""
    log = Logged(path)
    machine, turns = log.machine, 0
    log.fetch()  # what was loaded
    log.seen[:] = 0
    before = log.written()
    machine.start()
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until and machine.running:
            time.sleep(0.005)
            log.fetch()
            turns += 1
            if turns % every == 0:
                mode = turns // every & 1
                assert machine.call("kvm_vm_ioctl_configure_mmu", log.kvm, mode) == 0
    finally:
        machine.stop()
    log.fetch()
    assert turns > 20
    assert audit(machine) == []
    lost = 0
    for old, new in zip(before, log.written(), strict=True):
        changed = np.flatnonzero(old != new)
        assert len(changed) > 100
        lost += sum(not log.logged(int(page)) for page in changed)
    return lost


@pytest.mark.slow
@pytest.mark.parametrize("path", ["locked", "lockless"])
def test_short_in_hash_mode(path: str) -> None:
    assert run(path, 1.0, every=1 << 30) == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", ["locked", "lockless"])
def test_long_in_hash_mode(path: str) -> None:
    assert run(path, LONG_S, every=1 << 30) == 0


@pytest.mark.slow
def test_switches_while_the_log_is_read() -> None:
    """Nothing breaks. A switch forgets C with the tables, as in the kernel, so a page that was
    written just before one may be in no log, and nothing is said of that here."""
    run("locked", 1.5, every=3)
