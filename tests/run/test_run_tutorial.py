"""The tutorial's Python does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_the_python_call_of_the_tutorial(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], str(TUTORIAL), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["none", "lockless"]
    assert all(float(line.split()[2]) > 0 for line in lines), "refaults on both paths"
