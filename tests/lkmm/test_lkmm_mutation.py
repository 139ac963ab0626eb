"""The campaign notices faults of the engines (bench/engine_mutation.py): all by its command,
some of them here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from campaign.faults import FAULTS, Fault
from engine_mutation import faulty_text

BENCH = Path(__file__).parents[2] / "bench"
ENGINES = Path(__file__).parents[2] / "src" / "mkold" / "lkmm"
SOME = (
    "read-modify-writes may be torn",
    "a waiting round is kept as any other",
    "who hangs need not read the last write",
    "RCU sections are not seen",
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_its_place(fault: Fault) -> None:
    text = (ENGINES / f"{fault.module.replace('.', '/')}.py").read_text()
    compile(faulty_text(fault, text), fault.module, "exec")


def test_there_are_enough_of_them() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30


@pytest.mark.quality
@pytest.mark.parametrize("name", SOME)
def test_a_fault_is_noticed(name: str) -> None:
    run = [sys.executable, "engine_mutation.py", "--one", name, "--n", "150"]
    done = subprocess.run(run, cwd=BENCH, capture_output=True, text=True, check=True)
    assert "|" in done.stdout, f"{name}: not noticed"
