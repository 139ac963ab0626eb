"""A vCPU that runs on: recordings of real kernels, and faults that only these catch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from validate_mutants import Mutant

from mkold.base.errors import InputError
from mkold.cli.main import main
from mkold.ir.variant import Set, Skip
from mkold.kvm.notifier import kvm_test_clear_young_slow
from mkold.kvm.tlb import kvm_flush_remote_tlbs
from mkold.kvm.types import Kvm
from mkold.lang import Ptr, cast, kernel, u64
from mkold.mm.mmu_notifier import MmuNotifier
from mkold.validate.compare import Answers, Comparison, compared, perform_all
from mkold.validate.draw import LOOPS, draw, draw_vm
from mkold.validate.rig.hosts import host
from mkold.validate.script import Script, read_script
from mkold.validate.session import system_spec
from mkold.validate.sides import SystemSide, image_of, topics_of
from mkold.validate.step import Step
from mkold.validate.system import Edit, System
from mkold.validate.vm import Vm, vm_of

RECORDINGS = Path(__file__).parent / "recordings"
RECORDING = RECORDINGS / "x86-6.12-running.recording"


@kernel
def clear_without_flush(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> u64:
    """``kvm_mmu_notifier_clear_flush_young`` without the flush."""
    return kvm_test_clear_young_slow(cast(Ptr[Kvm], notifier), start, end, 1)


@kernel
def clear_with_flush(notifier: Ptr[MmuNotifier], start: u64, end: u64) -> u64:
    """``kvm_mmu_notifier_clear_young`` with a flush."""
    kvm = cast(Ptr[Kvm], notifier)
    young = kvm_test_clear_young_slow(kvm, start, end, 1)
    kvm_flush_remote_tlbs(kvm)
    return young


NEWEST, POWER9 = "x86-7.2-running", "power9-6.12-running"
MUTANTS = (
    Mutant(
        "clear_flush_young flushes nothing",
        stand_in=("kvm_mmu_notifier_clear_flush_young", clear_without_flush),
        recording=RECORDING.stem,
    ),
    Mutant(
        "clear_young flushes",
        stand_in=("kvm_mmu_notifier_clear_young", clear_with_flush),
        recording=RECORDING.stem,
    ),
    Mutant("nobody flushes", (Skip("kvm_flush_remote_tlbs"),), recording=RECORDING.stem),
    Mutant(
        "clear_flush_young flushes on Linux 7.2",
        (Set("KVM_ELIDE_TLB_FLUSH_IF_YOUNG", 0),),
        recording=NEWEST,
    ),
    Mutant(
        "an unmapped page is not flushed on POWER",
        (Skip("kvm_flush_remote_tlbs_range"),),
        recording=POWER9,
    ),
    Mutant(
        "a broken entry is not flushed on Arm",
        (Skip("kvm_tlb_flush_vmid_range"),),
        recording="arm64-6.12-running",
    ),
)


def asked(recording: str, edit: Edit | None = None) -> Comparison:
    script = read_script(RECORDINGS / f"{recording}.recording")
    assert script.answers is not None
    spec = system_spec(host(script.host), script.kernel, "locked")
    image = image_of(spec, topics_of(script.vm), edit=edit)
    side = SystemSide(System(image, spec, script.vm), script.answers)
    return compared(script.steps, script.answers, perform_all(side, script.steps))


@pytest.mark.quality
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_seeded_fault_is_caught(mutant: Mutant) -> None:
    assert asked(mutant.recording, mutant.edit).differences


def loops(script: Script) -> Iterator[tuple[Step, int, Answers]]:
    """Each step with the pages of the loop it was done in, and its answers."""
    loop = 0
    assert script.answers is not None
    for step, answers in zip(script.steps, script.answers, strict=True):
        if step.name in LOOPS:
            loop = step.pages
        yield step, loop, answers


def test_translations_hide_pages_from_who_only_clears() -> None:
    """The real kernel's answers: hidden are pages of the loop; a flush shows them all."""
    hidden = 0
    for step, loop, answers in loops(read_script(RECORDING)):
        assert answers["fresh"] == loop
        old = loop & ~answers["young"]
        if step.name == "clear-young":
            hidden |= old
        elif step.name == "clear-flush-young" and step.by == 1:
            assert not old & answers["answer"]
    assert hidden.bit_count() > 10


def test_newer_kernels_hide_from_a_flush_too() -> None:
    found = 0
    for step, loop, answers in loops(read_script(RECORDINGS / f"{NEWEST}.recording")):
        if step.name == "clear-flush-young" and step.by == 1:
            found |= loop & ~answers["young"] & answers["answer"]
    assert found.bit_count() > 3


def test_a_processor_that_forgets_agrees() -> None:
    """mkold's vCPU drops what the real one is seen to have dropped, but no more."""
    script = read_script(RECORDING)
    at, step, loop = next(
        (at, step, loop)
        for at, (step, loop, answers) in enumerate(loops(script))
        if step.name == "clear-young" and loop & step.pages & ~answers["young"]
    )
    answers = [dict(answer) for answer in script.answers or ()][: at + 1]
    young = answers[at]["young"]
    hidden, outside = loop & step.pages & ~young, script.vm.all_pages & ~loop & ~young
    spec = system_spec(host(script.host), script.kernel, "locked")
    image = image_of(spec, topics_of(script.vm))
    for wrong, agrees in ((hidden & -hidden, True), (outside & -outside, False)):
        told = [*answers[:at], answers[at] | {"young": young | wrong}]
        side = SystemSide(System(image, spec, script.vm), told)
        found = compared(script.steps, told, perform_all(side, script.steps[: at + 1]))
        assert (not found.differences) is agrees


def test_steps_while_it_runs_are_no_guest_s() -> None:
    for seed in range(6):
        vm = draw_vm(64, seed, running=True)
        assert vm_of(vm.head()) == vm
        loop = 0
        for step in draw(300, vm, seed):
            if step.name in LOOPS:
                loop = step.pages
            elif loop:
                assert not step.name.startswith("guest-")
                assert not (step.name == "pageout" and step.pages & loop)
        assert not any(s.name in LOOPS for s in draw(300, Vm(64), seed))
    for head in ({"running": "1"}, {"running": "yes", "guest": "hash"}):
        with pytest.raises(InputError, match=r"running yes|runs on"):
            vm_of({"pages": "64", **head})


def test_guests_that_can_not_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--running", "--host", "power9-hash"]) == 2
    assert "power9-hash" in capsys.readouterr().err
