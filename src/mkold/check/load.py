"""Claims from Python files: the ones that ship, and a user's."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from mkold.base.errors import InputError
from mkold.check.blame import users_code
from mkold.check.claim import Claim


def shipped() -> list[Claim]:
    """Every claim in the modules below ``mkold.claims``, by number."""
    room = importlib.import_module("mkold.claims")
    found = pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    modules = [importlib.import_module(name) for name in sorted(info.name for info in found)]
    claims = [claim for module in modules for claim in getattr(module, "CLAIMS", ())]
    return sorted(claims, key=lambda claim: _number(claim.name))


def _number(name: str) -> tuple[int, str]:
    digits = re.match(r"\d+", name)
    return (int(digits.group()), name) if digits else (1 << 30, name)


def from_file(path: Path) -> list[Claim]:
    """The list ``CLAIMS`` of a Python file.

    Raises
    ------
    InputError : no such file, it fails to run, or it has no ``CLAIMS``
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    name = f"mkold_claims_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with users_code():
        spec.loader.exec_module(module)
    claims = getattr(module, "CLAIMS", None)
    if not isinstance(claims, list) or not all(isinstance(c, Claim) for c in claims):
        raise InputError(f"{path} defines no list CLAIMS of mkold.check.Claim")
    return claims


def _meant(want: str, name: str) -> bool:
    """``3`` means 3a and 3b too."""
    label = name.partition("-")[0]
    return want in (name, label) or (want.isdigit() and label.rstrip("abc") == want)


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
