"""A short form of the campaign of faults (bench/faults.py), and that it can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import faults
from hostile import ran
from mkold.base.errors import Exit
from mkold.check import decide


@pytest.mark.parametrize("kind", ["litmus", "traces", "texts", "claims"])
def test_hostile_files(kind: str, tmp_path: Path) -> None:
    told: list[str] = []
    found = faults.campaign([kind], 1, tmp_path, quick=True, scale=0.5, say=told.append)
    assert found[kind]["wrong"] == 0, told
    assert found[kind]["ran"] >= 7


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["signals", "faults"])
def test_faults_of_the_machine(kind: str, tmp_path: Path) -> None:
    told: list[str] = []
    found = faults.campaign([kind], 1, tmp_path, quick=True, say=told.append)
    assert found[kind]["wrong"] == 0, told


@pytest.mark.slow
def test_an_internal_error_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **named: object) -> object:
        raise AssertionError("a bug")

    monkeypatch.setattr(decide.lkmm, "decide", broken)
    told: list[str] = []
    found = faults.campaign(["claims"], 1, tmp_path, quick=True, say=told.append)
    assert found["claims"]["wrong"] > 0, told
    assert list((tmp_path / "claims").glob("*.kept"))


def test_what_must_never_be_seen() -> None:
    assert ran.Ran(0, "fine", "").wrong() == ""
    assert ran.Ran(int(Exit.INTERNAL), "", "").wrong() == "exit 70"
    assert "Traceback" in ran.Ran(3, "", "Traceback (most recent call last):").wrong()
    assert ran.Ran(None, "", "").wrong() == "no end"
    assert ran.Ran(-11, "", "").wrong() == "exit -11"


def test_a_process_that_lives_on_is_seen() -> None:
    word = "a-survivor"
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={ran.MARK: word}
    )
    try:
        assert ran.survivors(word, 0.5) == [process.pid]
    finally:
        process.kill()
        process.wait()
    assert ran.survivors(word, 0.5) == []
