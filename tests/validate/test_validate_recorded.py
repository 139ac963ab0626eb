"""mkold's system against what real kernels answered: recordings of ``mkold validate``.

Each file says which kernel it is from; its answers were given by that kernel alone.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mkold.cli.main import main
from mkold.validate.rig.hosts import HOSTS, host
from mkold.validate.script import read_script, script_text
from mkold.validate.topics import KINDS

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.recording"))
POWER9 = Path(__file__).parent / "recordings" / "power9-6.12.recording"
QUICK = {
    "power9-6.12",
    "x86-6.12",
    "x86-6.12-evict",
    "x86-nested-6.12",
}  # a build takes ten seconds where it is the first
CASES = [
    pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else [pytest.mark.slow])
    for path in RECORDINGS
]
Capture = pytest.CaptureFixture[str]


def test_there_are_recordings() -> None:
    assert POWER9 in RECORDINGS


@pytest.mark.parametrize("path", CASES)
def test_the_system_agrees_with_the_kernel(path: Path, capsys: Capture) -> None:
    assert main(["validate", "--recorded", str(path), "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["agrees"] is True
    script = read_script(path)
    for system in body["hosts"][0]["systems"]:
        assert system["differ"] == 0
        assert system["bitmaps"] >= 3 * len(script.steps)
    assert {step.name for step in script.steps} <= set(KINDS)


def test_one_wrong_bit_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    script = read_script(POWER9)
    assert script.answers is not None
    answers = [dict(answer) for answer in script.answers]
    for answer in answers[200:]:
        answer["young"] ^= 1 << 17
    monkeypatch.chdir(tmp_path)
    Path("wrong").write_text(script_text(replace(script, answers=tuple(answers))))
    assert main(["validate", "--recorded", "wrong"]) == 1
    out = capsys.readouterr().out
    assert "step 201" in out
    assert "alone: 17" in out
    assert read_script("mkold-power9-6.12-locked.script").steps == script.steps[:201]


def test_a_file_without_answers_can_not_be_compared_with(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(script_text(replace(read_script(POWER9), answers=None)))
    assert main(["validate", "--recorded", str(tmp_path / "x")]) == 3


def test_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.delenv("MKOLD_RIG", raising=False)
    assert main(["validate", "--host", "power9"]) == 3
    assert "--setup DIR" in capsys.readouterr().err
    assert main(["validate", "--host", "power9", "--rig", str(tmp_path)]) == 3
    assert "--host power9 --kernel 6.12 --setup" in capsys.readouterr().err
    assert main(["validate", "--host", "vax"]) == 2
    assert "power9" in capsys.readouterr().err
    assert main(["validate", "--kernel", "2.4"]) == 2
    assert main(["validate", "--recorded"]) == 2


def test_every_host_names_what_there_is() -> None:
    for name, row in HOSTS.items():
        assert host(name) is row
        for kernel in row.kernels:
            assert row.kernel(kernel).package.startswith("^linux-image-")
