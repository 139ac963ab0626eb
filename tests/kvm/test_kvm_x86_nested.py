"""An x86 guest of a guest: L1 changes its tables, L0 follows them, and the books agree."""

from __future__ import annotations

from functools import cache

import pytest

from mkold.ir.variant import Skip, apply
from mkold.kvm.x86.asm.kvm_host import Kvm
from mkold.kvm.x86.nested import AUDIT_SHADOW, AUDIT_WRITABLE_TABLE, kvm_nested_audit
from mkold.kvm.x86.shadow.audit import AUDIT_NOT_IN_STEP
from mkold.native import Image
from mkold.run.spec import MachineSpec
from mkold.validate.draw import draw, read_step
from mkold.validate.sides import SystemSide, topics_of
from mkold.validate.system import System, SystemSpec, system_image
from mkold.validate.topics.nested_x86 import l1_load
from mkold.validate.vm import Vm

VM = Vm(64, guest="npt")


@cache
def made(kernel: str, skipped: str = "") -> tuple[Image, SystemSpec]:
    machine = MachineSpec(arch="x86", kernel=kernel, mmu="npt", nested=True).check()
    topics = topics_of(VM)
    own = tuple(item for topic in topics for item in topic.parameters.items())
    spec = SystemSpec(machine, changes=own)
    entries = [entry for topic in topics for entry in topic.entries]
    edits = [Skip(skipped)] if skipped else []
    image = system_image(
        spec,
        [*dict.fromkeys([*entries, l1_load]), kvm_nested_audit],
        edit=lambda functions, values: apply(functions, values, edits),
    )
    return image, spec


class Nested:
    """A VM whose guest has a guest."""

    def __init__(self, kernel: str = "6.12", skipped: str = "") -> None:
        image, spec = made(kernel, skipped)
        self.system = System(image, spec, VM)
        self.side = SystemSide(self.system)

    def do(self, *steps: str) -> None:
        for step in steps:
            self.side.perform(read_step(step))

    def young(self) -> list[int]:
        seen = self.side.look()["young"]
        return [page for page in range(VM.n_pages) if seen >> page & 1]

    def audit(self) -> int:
        return self.system.call("kvm_nested_audit", self.system.kvm)

    def indirect(self) -> int:
        at = self.system.kvm + Kvm.layout.field("arch.indirect_shadow_pages").offset
        return int(self.system.memory.words[at])


@pytest.mark.parametrize(
    ("kernel", "left"),
    [
        pytest.param("6.1", [3], marks=pytest.mark.slow),
        ("6.12", [3, 9, 11]),
        pytest.param("6.15", [3, 9, 10, 11], marks=pytest.mark.slow),
    ],
)
def test_what_lost_a_right_is_followed_at_the_next_entry(kernel: str, left: list[int]) -> None:
    vm = Nested(kernel)
    vm.do("l2-write 9-11", "l1-protect 10")
    assert vm.young() == [9, 10, 11]
    vm.do("l2-read 3")
    assert vm.young() == left
    assert vm.audit() == 0


def test_what_l1_made_old_is_dropped_and_comes_back() -> None:
    vm = Nested()
    vm.do("l2-write 9-11", "l1-clear-young 10", "l2-read 3")
    assert vm.young() == [3, 9, 11]
    vm.do("l2-read 10")
    assert vm.young() == [3, 9, 10, 11]


@pytest.mark.parametrize("kernel", ["6.12", pytest.param("6.15", marks=pytest.mark.slow)])
def test_the_books_agree_after_any_steps(kernel: str) -> None:
    vm = Nested(kernel)
    for i, step in enumerate(draw(150, VM, 3)):
        vm.side.perform(step)
        if i % 5 == 0:
            assert vm.audit() == 0, step


@pytest.mark.quality
@pytest.mark.parametrize(
    ("skipped", "wrong"),
    [
        ("kvm_vcpu_write_protect_gfn", AUDIT_WRITABLE_TABLE),
        ("sync_spte", AUDIT_SHADOW + AUDIT_NOT_IN_STEP),
    ],
)
def test_the_books_tell(skipped: str, wrong: int) -> None:
    vm = Nested(skipped=skipped)
    vm.do("l2-write 9-11", "l1-unmap 10", "l2-read 3")
    assert vm.audit() == wrong


def test_a_write_above_the_leaves_is_seen_at_once() -> None:
    """The entry of L1's last table but one that leads to pages 8-15 goes, and comes back."""
    vm = Nested()
    vm.do("l2-write 9-11", "l2-write 20")
    tables = vm.indirect()
    above = vm.system.l1_leaves - 1
    at = (vm.system.kvm, vm.system.vcpu, above, 1)
    entry = vm.system.call("l1_load", vm.system.kvm, above, 1)
    assert entry & 7
    assert vm.system.call("l1_store", *at, 0) == 0
    assert vm.indirect() == tables
    assert vm.audit() == 0
    assert vm.young() == [9, 10, 11, 20]  # that table is kept, with all that it maps
    assert vm.system.call("l1_store", *at, entry) == 0
    vm.do("clear-young 0-63", "l2-read 9")
    assert vm.young() == [9]
    assert vm.indirect() == tables
    assert vm.audit() == 0
