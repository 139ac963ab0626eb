"""The whole way, with QEMU: boot, steps, compare; and a kernel's module that lies is caught.

``MKOLD_RIG`` names a folder that ``mkold validate --setup`` filled. Hosts that are not set up
there are skipped, and said to be.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mkold.cli.main import main
from mkold.validate.rig.hosts import HOSTS, host
from mkold.validate.rig.setup import find
from mkold.validate.script import read_script

pytestmark = pytest.mark.slow
Capture = pytest.CaptureFixture[str]


def rig_with(name: str) -> str:
    folder = os.environ.get("MKOLD_RIG", "")
    if not folder or find(Path(folder), host(name), "") is None:
        pytest.skip(
            f"NO REAL KERNEL WAS ASKED: MKOLD_RIG has no {name}; "
            f"mkold validate --host {name} --setup DIR"
        )
    return folder


@pytest.mark.parametrize("name", HOSTS)
def test_a_real_kernel_agrees(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["validate", "--host", name, "--rig", rig_with(name), "--steps", "60"]
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--seed", "31", "--record", "x"]) == 0
    recording = read_script("x")
    assert recording.release
    assert recording.answers is not None
    assert len(recording.answers) == len(recording.steps) > 50


def test_a_lie_of_the_kernel_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    words = ["validate", "--host", "x86", "--rig", rig_with("x86"), "--steps", "40", "--lie"]
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    assert "step 21" in capsys.readouterr().out
