"""The room's list of files is whole, and imports go up in it only."""

from __future__ import annotations

import re
from pathlib import Path

import mkold.lkmm.sat as room

FILES = {path.stem: path.read_text() for path in Path(room.__file__).parent.glob("*.py")}


def _groups() -> list[list[str]]:
    assert room.__doc__
    found: list[list[str]] = []
    for line in room.__doc__.splitlines():
        if re.match(r"[a-z]+  +``", line):
            found.append([])
        if found:
            found[-1] += re.findall(r"``(\w+)``", line)
    return found


def test_every_file_is_in_the_list_once() -> None:
    named = [name for group in _groups() for name in group]
    assert sorted(named) == sorted(FILES.keys() - {"__init__"})


def test_imports_go_up() -> None:
    at = {name: number for number, group in enumerate(_groups()) for name in group}
    for name in at:
        imports = re.findall(
            r"from mkold\.lkmm\.sat(?:\.(\w+) import| import (\w+))", FILES[name]
        )
        for first, second in imports:
            assert at[first or second] <= at[name], (name, first or second)
