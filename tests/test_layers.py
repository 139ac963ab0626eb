"""Imports go one way, between rooms and inside them; files and functions stay small.

A room is a folder below ``src/mkold``, or a part of one that has rules of its own
(``kvm/powerpc``); a file belongs to the longest name that fits. An import counts wherever
it stands: in a function, under ``TYPE_CHECKING``, and as a dotted name in a string
(``"mkold.sync.rcu:__call_rcu"``), by which some things are found late.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "mkold"

SUBJECT = {"sync", "mm", "kvm"}
ARCHS = sorted(path.parent.name for path in (PACKAGE / "kvm").glob("*/machine.py"))
KERNEL_PYTHON = {"base", "ir", "lang"}
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "ir": {"base"},
    "lang": {"base", "ir"},
    "litmus": {"base", "ir"},
    "lkmm": {"base", "ir"},
    "herd": {"base", "ir", "litmus", "lkmm"},
    "trace": {"base"},
    "host": {"base"},
    "native": {"base", "ir"},
    "sync": KERNEL_PYTHON,
    "mm": {*KERNEL_PYTHON, "sync"},
    "kvm": {*KERNEL_PYTHON, "sync", "mm"},
    **{f"kvm/{arch}": {*KERNEL_PYTHON, *SUBJECT} for arch in ARCHS},
    "kvm/architectures": {"base", "kvm", *(f"kvm/{arch}" for arch in ARCHS)},
    "run": {"base", "ir", "native", "trace", *SUBJECT, "kvm/architectures"},
    "validate": {
        "base",
        "ir",
        "native",
        *SUBJECT,
        "kvm/architectures",
        "kvm/powerpc",
        "kvm/x86",
        "run",
        "lang",
    },
    "check": {"base", "ir", "native", "lkmm", "litmus"},
    "claims": {"base", "check"},
    "claims/generic": {*KERNEL_PYTHON, "check", *SUBJECT},
    **{
        f"claims/{arch}": {*KERNEL_PYTHON, "check", *SUBJECT, f"kvm/{arch}", "claims/generic"}
        for arch in ARCHS
    },
    "view": {"base", "ir", "lkmm", "litmus", "run", "check", "host"},
}
MAY_IMPORT["cli"] = {room for room in MAY_IMPORT if "/" not in room} | {"kvm/architectures"}
# The one file of a folder that names everything of a kind, to be looked up late.
REGISTRIES = {"kvm/architectures", "lkmm/engines"}
FENCED = {
    "backports": {"trace"},
    "llvmlite": {"native"},
    "matplotlib": {"view"},
    "polars": {"trace", "run"},
    "pysat": {"lkmm"},
}
# Kernel Python outside the subject: these files alone of their rooms may import lang.
KERNEL_FILES = {
    "check/torture/code",
    "run/clock",
    "run/guest",
    "run/kswapd",
    "run/steady",
}
# Names that are looked up only when a program is linked, and the room they may be in: what
# primitives are natively. The one arrow that goes up.
LATE = {"ir/prims/implementations": {"sync"}}
MAX_FILE, MAX_FUNCTION = 350, 50


# -- what imports what ----------------------------------------------------------------------

FILES = sorted(
    path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")
)


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{file}.py").read_text(), file)


@cache
def names(file: str) -> list[tuple[int, list[str]]]:
    """Line and dotted name of every import."""
    return list(each_import(file))


def each_import(file: str) -> Iterator[tuple[int, list[str]]]:
    package = ["mkold", *file.split("/")[:-1]]
    for node in ast.walk(tree(file)):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name.split(".")) for alias in node.names)
            case ast.ImportFrom():
                stem = package[: len(package) - node.level + 1] if node.level else []
                stem = stem + (node.module.split(".") if node.module else [])
                yield from ((node.lineno, [*stem, alias.name]) for alias in node.names)
            case ast.Constant(value=str(text)) if re.fullmatch(
                r"mkold(\.\w+){2,}(:\w+)?", text
            ):
                yield node.lineno, re.split("[.:]", text)


def target(name: list[str]) -> str:
    """The file that a dotted name of ours is in; empty if it is not ours."""
    for n in range(len(name), 0, -1):
        for file in ("/".join(name[1:n]), "/".join([*name[1:n], "__init__"])):
            if name[0] == "mkold" and file in FILES:
                return file
    return ""


def room(file: str) -> str:
    """The room that a file is in; itself if it stands in none."""
    parts = file.split("/")
    stems = ("/".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((stem for stem in stems if stem in MAY_IMPORT), file)


def offence(file: str, name: list[str]) -> str:
    """What is wrong with an import of ``name`` in ``file``; empty if nothing is."""
    here = room(file)
    if name[0] in FENCED and here not in FENCED[name[0]]:
        return f"{name[0]} belongs to {', '.join(sorted(FENCED[name[0]]))}"
    there = room(target(name)) if target(name) else here
    if there == "lang" and file in KERNEL_FILES:
        return ""
    if there in LATE.get(file, ()):
        return ""
    if there in MAY_IMPORT and there != here and there not in MAY_IMPORT[here]:
        return f"{here} may not import {there}"
    return ""


@pytest.mark.parametrize("here", MAY_IMPORT)
def test_imports_go_one_way(here: str) -> None:
    found = [
        f"{file}.py:{line}: {reason}"
        for file in FILES
        if room(file) == here
        for line, name in names(file)
        if (reason := offence(file, name))
    ]
    assert not found, "\n".join(found)


def test_every_folder_is_a_known_room() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} <= set(
        MAY_IMPORT
    )


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ir/nodes", "mkold.lang"),
        ("lkmm/decide", "mkold.kvm.types"),
        ("run/machine", "mkold.lkmm"),
        ("lang/__init__", "mkold.view.grid"),
        ("check/program", "mkold.kvm.main"),
        ("kvm/main", "mkold.kvm.powerpc.switch"),
        ("claims/generic/locks", "mkold.claims.powerpc.small_vm"),
        ("check/program", "mkold.lang.types"),
        ("run/machine", "mkold.lang"),
        ("run/machine", "llvmlite.ir"),
        ("lkmm/decide", "polars"),
    ],
)
def test_the_rule_catches(file: str, name: str) -> None:
    assert offence(file, name.split("."))


# -- circles ----------------------------------------------------------------------------------


def imported() -> dict[str, set[str]]:
    """By file, the files that it imports."""
    return {
        file: {other for _, name in names(file) if (other := target(name)) and other != file}
        for file in FILES
        if file not in LATE
    }


def by_folder(files: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """By folder, the folders that its files import from; packages' own lists left out."""
    folders: dict[str, set[str]] = {}
    for file, others in files.items():
        here = file.rpartition("/")[0]
        for other in others:
            there, _, name = other.rpartition("/")
            own = "__init__" in (name, file.rpartition("/")[2]) or file in REGISTRIES
            if there != here and not own:
                folders.setdefault(here, set()).add(there)
    return folders


def circles(arrows: Mapping[str, set[str]]) -> list[set[str]]:
    """Sets of nodes that reach each other."""
    left = {node: set(others) for node, others in arrows.items()}
    while True:
        ends = {node for node, others in left.items() if not others & set(left)}
        starts = set(left) - set().union(*left.values())
        if not ends | starts:
            break
        left = {node: others for node, others in left.items() if node not in ends | starts}
    reach = {node: reached(left, node) for node in left}
    found = []
    for node in left:
        ring = {other for other in reach[node] if node in reach[other]}
        if ring and ring not in found:
            found.append(ring)
    return found


def reached(arrows: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(arrows[start])
    while waiting:
        node = waiting.pop()
        if node in arrows and node not in seen:
            seen.add(node)
            waiting += arrows[node]
    return seen


def test_no_circle_of_files() -> None:
    assert not circles(imported())


def test_no_circle_of_folders() -> None:
    assert not circles(by_folder(imported()))


def test_no_circle_of_rooms() -> None:
    assert not circles(MAY_IMPORT)


def test_circles_are_found() -> None:
    ring = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}, "f": {"f"}}
    assert circles(ring) == [{"a", "b", "c"}, {"f"}]


# -- size -------------------------------------------------------------------------------------


def n_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    skipped = (first.end_lineno or 0) - first.lineno + 1 if doc else 0
    return (function.end_lineno or 0) - function.lineno + 1 - skipped


@pytest.mark.parametrize("file", FILES)
def test_size(file: str) -> None:
    assert len((PACKAGE / f"{file}.py").read_text().splitlines()) <= MAX_FILE
    functions = [node for node in ast.walk(tree(file)) if isinstance(node, ast.FunctionDef)]
    assert not [(f.name, n_lines(f)) for f in functions if n_lines(f) > MAX_FUNCTION]


# -- tests ------------------------------------------------------------------------------------

TESTS = Path(__file__).parent


def test_tests_mirror_rooms() -> None:
    """``tests/<room>/test_<room>_*.py``; what tests share is no test itself."""
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        inside = path.relative_to(TESTS).with_suffix("").as_posix()
        folder, _, name = inside.rpartition("/")
        if folder and not name.startswith(f"test_{folder.split('/')[0]}_"):
            found.append(f"{inside} is not named after its room")
        if re.search(r"^(from|import) test_", path.read_text(), re.M):
            found.append(f"{inside} imports a test")
    assert not found
