"""The subjects of bench/scan.py and bench/fault_vs_aging.py: all run, and count alike."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import fault_vs_aging
import scan
from aging.table import SUBJECTS

N = 4 * 512


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, it in SUBJECTS.items() if it.scan])
def test_a_scan_finds_what_is_young_as_c_does(name: str, tmp_path: Path) -> None:
    subject = SUBJECTS[name]
    assert subject.scan is not None
    tables = scan.Tables(scan.image_of(subject, subject.scan), subject, subject.scan, N)
    ways = {"mkold": scan.Tables.scan, **scan.compile_c(subject.scan, tmp_path)}
    for way, action in ways.items():
        if way == "sum":
            continue
        assert tables.fill(0.0) == action(tables) == 0
        young = tables.fill(0.3)
        assert 0.2 * N < young < 0.4 * N
        assert action(tables) == young, way
        assert action(tables) == tables.scan() == 0, way


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, it in SUBJECTS.items() if it.faults])
def test_faults_go_on_while_the_pages_are_aged(name: str) -> None:
    subject = SUBJECTS[name]
    assert subject.faults is not None
    how = subject.faults
    guest = fault_vs_aging.Guest(fault_vs_aging.image_of(subject, how), subject, how, N)
    for path in how.paths:
        done = guest.run(path, 0.05, 0.0)
        assert done["faults"] > N
        assert (done["aged"] >= N) == (path != "none")
