"""Claims from Python files: the ones that ship, and a user's.

A claims file is Python, and it runs: with all that its user may do, under the limits of the
verb.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from mkold.base.bounds import within
from mkold.base.errors import InputError, LimitError, Pos
from mkold.check.blame import place, users_code, wrong
from mkold.check.claim import Claim
from mkold.check.door import shown

# Claims about code that no architecture is part of.
GENERIC = "generic"
LOAD_S = 60.0


def shipped() -> list[Claim]:
    """Every claim in the modules below ``mkold.claims``, by number.

    The folder says which architecture a claim is about.
    """
    room = importlib.import_module("mkold.claims")
    found = pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    claims = []
    for name in sorted(info.name for info in found):
        folder = name.split(".")[2]
        arch = "" if folder == GENERIC else folder
        listed = getattr(importlib.import_module(name), "CLAIMS", ())
        claims += [replace(claim, arch=claim.arch or arch) for claim in listed]
    return sorted(claims, key=lambda claim: _number(claim.name))


def _number(name: str) -> tuple[int, str]:
    digits = re.match(r"\d+", name)
    return (int(digits.group()), name) if digits else (1 << 30, name)


def from_file(path: Path, timeout_s: float = LOAD_S) -> list[Claim]:
    """The list ``CLAIMS`` of a Python file.

    Raises
    ------
    InputError : no such file, it fails to run, or it has no claim in ``CLAIMS``
    LimitError : it does not end within ``timeout_s`` of processor time, or memory runs out
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    module = _run(path.resolve(), timeout_s)
    claims = getattr(module, "CLAIMS", None)
    top = Pos(str(path), 1)
    if not isinstance(claims, list | tuple):
        raise wrong(f"{path.name} defines no list CLAIMS of mkold.check.Claim", at=top)
    if not claims:
        raise wrong(f"the list CLAIMS of {path.name} is empty", at=top)
    for i, claim in enumerate(claims):
        if not isinstance(claim, Claim):
            raise wrong(f"CLAIMS[{i}] is no mkold.check.Claim: {shown(claim)}", at=top)
    return list(claims)


def _run(path: Path, timeout_s: float) -> ModuleType:
    """The module that the file makes. It may import its neighbours, as a script does."""
    name = f"mkold_claims_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    _forget_neighbours(path.parent)
    sys.modules[name] = module
    importlib.import_module("mkold.lang")  # which is no time of the file's
    try:
        with users_code(at=Pos(str(path), 1)), within(timeout_s, str(path)):
            spec.loader.exec_module(module)
    except (LimitError, MemoryError) as error:
        raise LimitError(f"{place(error) or path}: {str(error) or 'out of memory'}") from error
    return module


# Folders whose files were imported by claims beside them.
_FOLDERS: list[Path] = []


def _forget_neighbours(folder: Path) -> None:
    """From here on ``import x`` means the ``x`` of ``folder``, not that of another file's."""
    if folder in _FOLDERS[:1]:
        return
    for other in _FOLDERS:
        sys.path[:] = [entry for entry in sys.path if entry != str(other)]
        for name, module in list(sys.modules.items()):
            # As it was found by the entry of sys.path, which is resolved.
            if os.path.dirname(getattr(module, "__file__", None) or "") == str(other):
                del sys.modules[name]
    _FOLDERS[:] = [folder]
    sys.path.insert(0, str(folder))


def _meant(want: str, name: str) -> bool:
    """``3`` means 3a and 3b too."""
    label = name.partition("-")[0]
    return want in (name, label) or (want.isdigit() and label.rstrip("abc") == want)


def about(claims: Iterable[Claim], arch: str) -> list[Claim]:
    """Of ``claims`` those about an architecture, and those about any.

    Raises
    ------
    InputError : none is about ``arch``
    """
    claims = list(claims)
    known = sorted({claim.arch for claim in claims if claim.arch})
    if arch not in known:
        raise InputError(f"no claim is about {arch}; there are: {', '.join(known) or 'none'}")
    return [claim for claim in claims if claim.arch in ("", arch)]


def quick(claims: Iterable[Claim]) -> list[Claim]:
    """The same claims without the cases that are heavy, none of which decides."""
    return [
        replace(claim, cases=tuple(case for case in claim.cases if not case.heavy))
        for claim in claims
    ]


def select(claims: Iterable[Claim], wanted: list[str]) -> list[Claim]:
    """The claims whose name or leading number is wanted, in the given order; all if none.

    Raises
    ------
    InputError : a wanted name matches no claim
    """
    claims = list(claims)
    if not wanted:
        return claims
    chosen = []
    for want in wanted:
        found = [c for c in claims if _meant(want, c.name)]
        if not found:
            names = ", ".join(claim.name for claim in claims)
            raise InputError(f"no claim named {want}; there are: {names}")
        chosen += found
    return chosen
