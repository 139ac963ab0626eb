"""Huge pages: a recording of a real kernel, and faults that only it catches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from huge_log_mutants import HUGE_LOG_MUTANTS
from huge_mutants import HUGE_MUTANTS, always_base_pages
from validate_mutants import Mutant

from mkold.base.errors import InputError
from mkold.cli.main import main
from mkold.lang import READ_ONCE, Ptr, kernel, u64
from mkold.mm.huge.pmd import __split_huge_pmd_locked as split_locked
from mkold.mm.huge.pmd import zap_huge_pmd
from mkold.mm.large_folio import HPAGE_PMD_NR
from mkold.mm.mm_types import PTE_ACCESSED, PTE_PFN_SHIFT, Mm
from mkold.mm.pgtable import pmd_offset, pmd_trans_huge
from mkold.validate.compare import Comparison, compared, perform_all
from mkold.validate.draw import FEW, draw, draw_vm
from mkold.validate.rig.hosts import host
from mkold.validate.script import read_script, script_text
from mkold.validate.session import system_spec
from mkold.validate.sides import SystemSide, image_of, topics_of
from mkold.validate.system import Edit, System
from mkold.validate.topics.dirty import DIRTY
from mkold.validate.topics.huge import HUGE
from mkold.validate.vm import vm_of

RECORDINGS = Path(__file__).parent / "recordings"
RECORDING = RECORDINGS / "x86-6.12-huge.recording"
HOLES = RECORDINGS / "x86-6.12-huge-holes.recording"


@kernel
def table_is_old(table: Ptr[u64], pmd: u64) -> None:
    """``fill_table`` that forgets the accessed bit."""
    for i in range(HPAGE_PMD_NR):
        table[i] = (pmd & ~PTE_ACCESSED) + (i << PTE_PFN_SHIFT)


@kernel
def table_is_shifted(table: Ptr[u64], pmd: u64) -> None:
    """``fill_table`` without its last entry."""
    for i in range(HPAGE_PMD_NR - 1):
        table[i] = pmd + (i << PTE_PFN_SHIFT)


@kernel
def split_without_notice(mm: Ptr[Mm], page: u64) -> None:
    """``__split_huge_pmd``, of which the guest's table does not hear."""
    if pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)):
        split_locked(mm, page)


@kernel
def a_part_takes_all(mm: Ptr[Mm], page: u64, start: u64, end: u64) -> None:
    """``zap_or_split_huge_pmd`` that never splits."""
    if pmd_trans_huge(READ_ONCE(pmd_offset(mm, page).value)):
        zap_huge_pmd(mm, page)


@kernel
def mapped_old(mm: Ptr[Mm], page: u64) -> None:
    """``do_huge_pmd_anonymous_page`` that maps nothing."""


MUTANTS = (
    Mutant("a split makes pages old", stand_in=("fill_table", table_is_old)),
    Mutant("a split lacks an entry", stand_in=("fill_table", table_is_shifted)),
    Mutant("a split is not heard of", stand_in=("__split_huge_pmd", split_without_notice)),
    Mutant("leaves are small", stand_in=("host_pfn_mapping_level", always_base_pages)),
    Mutant("a part takes all", stand_in=("zap_or_split_huge_pmd", a_part_takes_all)),
    Mutant("no fault is huge", stand_in=("do_huge_pmd_anonymous_page", mapped_old)),
)


def asked(path: Path, edit: Edit | None = None) -> Comparison:
    script = read_script(path)
    assert script.answers is not None
    spec = system_spec(host(script.host), script.kernel, "locked", script.release)
    image = image_of(spec, topics_of(script.vm), edit=edit)
    side = SystemSide(System(image, spec, script.vm), script.answers)
    return compared(script.steps, script.answers, perform_all(side, script.steps))


def test_there_are_huge_pages_in_it() -> None:
    script = read_script(RECORDING)
    assert script.vm.huge
    assert set(HUGE.kinds) <= {step.name for step in script.steps}
    seen = [answer["huge"] for answer in script.answers or ()]
    assert {bits.bit_count() for bits in seen} >= {0, 512, 1024}


@pytest.mark.quality
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_seeded_fault_is_caught(mutant: Mutant) -> None:
    assert any(asked(path, mutant.edit).differences for path in (RECORDING, HOLES))


@pytest.mark.quality
@pytest.mark.parametrize(
    "mutant", [*HUGE_MUTANTS, *HUGE_LOG_MUTANTS], ids=lambda mutant: mutant.what
)
def test_a_seeded_fault_is_caught_by_its_recording(mutant: Mutant) -> None:
    assert asked(RECORDINGS / f"{mutant.recording}.recording", mutant.edit).differences


def test_a_vm_with_huge_pages_has_the_log_of_its_host() -> None:
    for seed in range(8):
        assert draw_vm(1300, seed, huge=True).log == ""
        vm = draw_vm(1300, seed, log="manual", huge=True)
        steps = draw(400, vm, seed)
        assert {*DIRTY.kinds, "collapse", "drop"} <= {step.name for step in steps}
        # what is about memslots is about more pages than a step touches
        cleared = [step for step in steps if step.name == "clear-dirty-log"]
        assert max(step.pages.bit_count() for step in cleared) > FEW


def test_the_head_says_so() -> None:
    for seed in range(8):
        vm = draw_vm(1300, seed, huge=True)
        assert vm_of(vm.head()) == vm
        assert not {step.name for step in draw(60, replace(vm, huge=False), seed)} & {
            *HUGE.kinds
        }
    for text in ("no", "1"):
        with pytest.raises(InputError, match="huge yes"):
            vm_of({"pages": "1300", "huge": text})


def test_hosts_without_it_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--huge", "--host", "power9-hash"]) == 2
    assert "power9-hash is not compared with huge pages" in capsys.readouterr().err


def test_a_script_is_read_back(tmp_path: Path) -> None:
    script = read_script(RECORDING)
    (tmp_path / "x").write_text(script_text(script))
    assert read_script(tmp_path / "x") == script
