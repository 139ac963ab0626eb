"""Memslots that go and come back: recordings of real kernels, and faults only they catch."""

from __future__ import annotations

from pathlib import Path

import pytest
from validate_mutants import Mutant

from mkold.ir.variant import Skip
from mkold.kvm.arch import kvm_unmap_gfn_range
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.types import Kvm, MemorySlot
from mkold.lang import Ptr, kernel, u64
from mkold.validate.compare import compared, perform_all
from mkold.validate.draw import draw, draw_vm
from mkold.validate.pages import bitmap
from mkold.validate.rig.hosts import host
from mkold.validate.script import read_script
from mkold.validate.session import system_spec
from mkold.validate.sides import SystemSide, image_of, topics_of
from mkold.validate.step import Step
from mkold.validate.system import System
from mkold.validate.topics.slots import SLOTS
from mkold.validate.vm import Vm, gone_after

RECORDINGS = Path(__file__).parent / "recordings"
X86 = "x86-6.12-slots"


@kernel
def takes_its_own_alone(kvm: Ptr[Kvm], slot: Ptr[MemorySlot]) -> None:
    """``kvm_arch_flush_shadow_memslot`` of x86 that leaves the other slots."""
    if kvm_unmap_gfn_range(kvm, slot.base_gfn, slot.base_gfn + slot.npages):
        kvm_flush_remote_tlbs(kvm)


@kernel
def deletes_nothing(kvm: Ptr[Kvm], slot_id: u64) -> None:
    """``kvm_delete_memslot`` that deletes nothing."""


MUTANTS = (
    Mutant(
        "a slot that goes takes its own pages alone",
        stand_in=("kvm_arch_flush_shadow_memslot", takes_its_own_alone),
        recording=X86,
    ),
    Mutant("a slot's pages stay", (Skip("kvm_arch_flush_shadow_memslot"),), recording=X86),
    Mutant(
        "a slot's pages stay on POWER",
        (Skip("kvm_arch_flush_shadow_memslot"),),
        recording="power9-6.12-slots",
    ),
    Mutant("no slot goes", stand_in=("kvm_delete_memslot", deletes_nothing), recording=X86),
)


@pytest.mark.quality
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_seeded_fault_is_caught(mutant: Mutant) -> None:
    script = read_script(RECORDINGS / f"{mutant.recording}.recording")
    assert script.answers is not None
    spec = system_spec(host(script.host), script.kernel, "locked")
    image = image_of(spec, topics_of(script.vm), edit=mutant.edit)
    side = SystemSide(System(image, spec, script.vm), script.answers)
    found = compared(script.steps, script.answers, perform_all(side, script.steps))
    assert found.differences
    assert {step.name for step in script.steps[: found.differences[0].at + 1]} & {*SLOTS.kinds}


def test_a_guest_touches_slots_that_there_are() -> None:
    seen = 0
    for seed in range(12):
        vm = draw_vm(64, seed)
        gone = 0
        for step in draw(300, vm, seed):
            if step.name in SLOTS.kinds:
                gone = gone_after(gone, step, vm)
                assert not gone & ~vm.slots
                seen += 1
            elif step.name.startswith("guest-"):
                assert not step.pages & gone
    assert seen > 50


def test_a_slot_goes_whole() -> None:
    vm = Vm(20, slots=bitmap([0, 1, 2, 8, 9]))
    gone = gone_after(0, Step("slot-delete", bitmap([1, 4])), vm)
    assert gone == bitmap([0, 1, 2])
    assert gone_after(gone, Step("slot-create", bitmap([9])), vm) == gone
    assert gone_after(gone, Step("slot-create", bitmap([0])), vm) == 0
