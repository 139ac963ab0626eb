"""DAMON: a recording of a real kernel, faults that only it catches, and who has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from validate_mutants import Mutant

from mkold.base.errors import InputError
from mkold.cli.main import main
from mkold.ir.variant import Skip
from mkold.lang import NULL, READ_ONCE, Ptr, kernel, u64
from mkold.mm.contpte import ptep_test_and_clear_young
from mkold.mm.damon import damon_get_folio, damon_va_mkold
from mkold.mm.mm_types import PTE_ACCESSED, PTE_PRESENT, Mm
from mkold.mm.mmu_notifier import mmu_notifier_clear_young, mmu_notifier_test_clear_young
from mkold.mm.page_idle import folio_set_idle, folio_set_young, folio_test_idle
from mkold.mm.pgtable import pte_offset, pte_pfn
from mkold.validate.compare import Comparison, compared, perform_all
from mkold.validate.draw import draw, draw_vm
from mkold.validate.rig.hosts import HOSTS, host
from mkold.validate.script import read_script, script_text
from mkold.validate.session import system_spec
from mkold.validate.sides import SystemSide, image_of, topics_of
from mkold.validate.system import Edit, System
from mkold.validate.topics.damon import DAMON, DAMON_PHYSICAL
from mkold.validate.vm import Vm, vm_of

RECORDINGS = Path(__file__).parent / "recordings"
RECORDING = RECORDINGS / "x86-6.12-damon.recording"
PHYSICAL = RECORDINGS / "x86-6.12-paddr.recording"
HUGE = RECORDINGS / "x86-6.12-huge-damon.recording"


@kernel
def sampled_page_alone(mm: Ptr[Mm], ptep: Ptr[u64], page: u64, end: u64) -> bool:
    """``damon_entry_mkold`` that asks the notifiers about whole pages."""
    pte = READ_ONCE(ptep.value)
    if not pte & PTE_PRESENT:
        return False
    folio = damon_get_folio(mm.node, pte_pfn(pte))
    if folio == NULL:
        return False
    young: u64 = ptep_test_and_clear_young(ptep)
    young |= mmu_notifier_clear_young(mm, page, max(end - 1, page + 1))
    if young:
        folio_set_young(folio)
    folio_set_idle(folio)
    return True


@kernel
def whole_huge_page(mm: Ptr[Mm], ptep: Ptr[u64], page: u64, end: u64) -> bool:
    """``damon_entry_mkold`` that begins where a huge entry does."""
    pte = READ_ONCE(ptep.value)
    if not pte & PTE_PRESENT:
        return False
    folio = damon_get_folio(mm.node, pte_pfn(pte))
    if folio == NULL:
        return False
    n: u64 = end - page
    first: u64 = page
    if n > 2:
        first = page & ~(n - 2)
    young: u64 = ptep_test_and_clear_young(ptep)
    young |= mmu_notifier_clear_young(mm, first, first + n)
    if young:
        folio_set_young(folio)
    folio_set_idle(folio)
    return True


@kernel
def next_frame_too(mm: Ptr[Mm], page: u64) -> bool:
    """``damon_pa_mkold`` that takes a page more, as by virtual addresses."""
    damon_va_mkold(mm, page)
    ptep = pte_offset(mm, page)
    if ptep == NULL or not READ_ONCE(ptep.value) & PTE_PRESENT:
        return False
    return damon_get_folio(mm.node, pte_pfn(READ_ONCE(ptep.value))) != NULL


@kernel
def process_alone(mm: Ptr[Mm], ptep: Ptr[u64], page: u64) -> bool:
    """``damon_entry_young`` that does not ask the notifiers."""
    pte = READ_ONCE(ptep.value)
    if not pte & PTE_PRESENT:
        return False
    folio = damon_get_folio(mm.node, pte_pfn(pte))
    if folio == NULL:
        return False
    return (pte & PTE_ACCESSED) != 0 or not folio_test_idle(folio)


@kernel
def zero_page_too(mm: Ptr[Mm], ptep: Ptr[u64], page: u64) -> bool:
    """``damon_entry_young`` that believes an accessed bit of the zero page's entry."""
    pte = READ_ONCE(ptep.value)
    if pte & PTE_PRESENT and pte & PTE_ACCESSED:
        return True
    if not pte & PTE_PRESENT or damon_get_folio(mm.node, pte_pfn(pte)) == NULL:
        return False
    if not folio_test_idle(damon_get_folio(mm.node, pte_pfn(pte))):
        return True
    return mmu_notifier_test_clear_young(mm, page, page + 1, 0, NULL) != 0


MUTANTS = (
    Mutant("one page alone is cleared", stand_in=("damon_entry_mkold", sampled_page_alone)),
    Mutant("the guest is not asked", stand_in=("damon_entry_young", process_alone)),
    Mutant("the zero page is watched", stand_in=("damon_entry_young", zero_page_too)),
    Mutant("nothing is idle", (Skip("folio_set_idle"),)),
    Mutant("reclaim is left no word", (Skip("folio_set_young"),)),
    Mutant("reclaim leaves what it found used idle", (Skip("folio_clear_idle"),)),
    Mutant("nothing is prepared", (Skip("damon_va_prepare_access_checks"),)),
)


OF_FRAMES = (
    Mutant("the next frame too", stand_in=("damon_pa_mkold", next_frame_too)),
    Mutant("no frame is prepared", (Skip("damon_pa_prepare_access_checks"),)),
    Mutant("frames are remembered", (Skip("damon_forget_frames"),)),
)


def asked(path: Path, edit: Edit) -> Comparison:
    script = read_script(path)
    assert script.answers is not None
    spec = system_spec(host(script.host), script.kernel, "locked")
    image = image_of(spec, topics_of(script.vm), edit=edit)
    side = SystemSide(System(image, spec, script.vm))
    return compared(script.steps, script.answers, perform_all(side, script.steps))


def test_some_were_accessed_and_some_were_not() -> None:
    script = read_script(RECORDING)
    watched = found = 0
    for step, answer in zip(script.steps, script.answers or (), strict=True):
        if step.name == "damon-watch":
            watched = step.pages
        elif step.name == "damon-check":
            assert not answer["answer"] & ~watched
            found |= bool(answer["answer"]) | bool(watched & ~answer["answer"]) << 1
            watched = 0
    assert found == 3


@pytest.mark.quality
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_seeded_fault_is_caught(mutant: Mutant) -> None:
    assert asked(RECORDING, mutant.edit).differences


@pytest.mark.quality
@pytest.mark.parametrize("mutant", OF_FRAMES, ids=lambda mutant: mutant.what)
def test_a_seeded_fault_of_frames_is_caught(mutant: Mutant) -> None:
    assert asked(PHYSICAL, mutant.edit).differences


@pytest.mark.quality
def test_a_huge_page_is_cleared_from_the_sampled_page_on() -> None:
    mutant = Mutant("from its start", stand_in=("damon_entry_mkold", whole_huge_page))
    assert asked(HUGE, mutant.edit).differences
    assert not asked(RECORDING, mutant.edit).differences


def test_it_is_drawn_where_the_kernel_has_it() -> None:
    for row in HOSTS.values():
        for has in (row.kernels[name].damon for name in row.kernels):
            vm = draw_vm(64, 3, row.kind, damon=has)
            assert vm_of(vm.head()) == vm
            names = {step.name for step in draw(400, vm, 3)}
            kinds = {*DAMON.kinds, *DAMON_PHYSICAL.kinds}
            assert (kinds <= names) == has
            assert has or not kinds & names
    assert not any(row.kernels["6.1"].damon for row in HOSTS.values())
    with pytest.raises(InputError, match="damon yes"):
        vm_of({"pages": "64", "damon": "perhaps"})


def test_a_script_of_a_host_without_it_has_no_such_step(tmp_path: Path) -> None:
    script = read_script(RECORDING)
    (tmp_path / "x").write_text(script_text(script))
    assert read_script(tmp_path / "x") == script
    (tmp_path / "x").write_text(script_text(replace(script, vm=Vm(script.vm.n_pages))))
    assert main(["validate", "--recorded", str(tmp_path / "x")]) == 3
