"""Every seeded fault of mkold's system differs from what a real kernel answered, within 300
steps, and in bitmaps that the fault can touch."""

from __future__ import annotations

from pathlib import Path

import pytest
from power_mutants import POWER_MUTANTS
from release_mutants import RELEASE_MUTANTS
from validate_mutants import MUTANTS, Mutant
from x86_mutants import X86_MUTANTS

from mkold.validate.compare import compared, perform_all
from mkold.validate.rig.hosts import host
from mkold.validate.script import read_script
from mkold.validate.session import system_spec
from mkold.validate.sides import SystemSide, image_of, topics_of
from mkold.validate.system import System

pytestmark = pytest.mark.quality

ALL = (*MUTANTS, *POWER_MUTANTS, *RELEASE_MUTANTS, *X86_MUTANTS)
RECORDINGS = Path(__file__).parent / "recordings"
MOST_STEPS = 300


def test_there_are_enough() -> None:
    assert len({mutant.what for mutant in ALL}) == len(ALL) >= 15


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.what)
def test_a_seeded_fault_is_caught(mutant: Mutant) -> None:
    script = read_script(RECORDINGS / f"{mutant.recording}.recording")
    assert script.answers is not None
    spec = system_spec(host(script.host), script.kernel, mutant.way, script.release)
    image = image_of(spec, topics_of(script.vm), edit=mutant.edit)
    system = SystemSide(System(image, spec, script.vm), script.answers)
    found = compared(script.steps, script.answers, perform_all(system, script.steps))
    assert found.differences
    assert found.differences[0].at < MOST_STEPS
