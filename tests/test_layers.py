"""Imports between rooms go one way, and heavy libraries stay behind their fences."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "mkold"

SUBJECT = {"lang", "sync", "mm", "kvm"}
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "ir": {"base"},
    "lang": {"base", "ir"},
    "litmus": {"base", "ir"},
    "lkmm": {"base", "ir"},
    "herd": {"base", "ir", "litmus", "lkmm"},
    "trace": {"base"},
    "native": {"base", "ir", "lang"},
    "sync": {"base", "ir", "lang"},
    "mm": {"base", "ir", "lang", "sync"},
    "kvm": {"base", "ir", "lang", "sync", "mm"},
    "run": {"base", "ir", "native", "trace", *SUBJECT},
    "check": {"base", "ir", "native", "lkmm", "litmus", *SUBJECT},
    "claims": {"base", "ir", "check", *SUBJECT},
    "view": {"base", "ir", "lkmm", "litmus", "run", "check"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
FENCED = {
    "llvmlite": {"native"},
    "polars": {"trace"},
}


def imports(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line and dotted name of every import, also those inside functions."""
    package = ["mkold", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = package[: len(package) - node.level + 1] if node.level else []
            stem = stem + (node.module.split(".") if node.module else [])
            yield from ((node.lineno, [*stem, alias.name]) for alias in node.names)


def offence(room: str, name: list[str]) -> str | None:
    if name[0] in FENCED and room not in FENCED[name[0]]:
        return f"{name[0]} belongs to {', '.join(sorted(FENCED[name[0]]))}"
    if name[0] == "mkold" and len(name) > 1 and name[1] in MAY_IMPORT:
        target = name[1]
        if target != room and target not in MAY_IMPORT[room]:
            return f"{room} may not import {target}"
    return None


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_one_way(room: str) -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {reason}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for line, name in imports(path)
        if (reason := offence(room, name))
    ]
    assert not found, "\n".join(found)


def test_every_folder_is_a_known_room() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms <= set(MAY_IMPORT)


def test_the_rule_itself_has_no_cycle() -> None:
    below = {room: set(targets) for room, targets in MAY_IMPORT.items()}
    while below:
        lowest = {room for room, targets in below.items() if not targets & set(below)}
        assert lowest, f"a cycle among {sorted(below)}"
        below = {room: targets for room, targets in below.items() if room not in lowest}


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("ir", ["mkold", "lang"]),
        ("lkmm", ["mkold", "kvm", "types"]),
        ("run", ["mkold", "lkmm"]),
        ("lang", ["mkold", "view"]),
        ("run", ["llvmlite", "ir"]),
        ("lkmm", ["polars"]),
    ],
)
def test_the_rule_catches(room: str, name: list[str]) -> None:
    assert offence(room, name)
