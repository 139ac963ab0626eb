"""Counterexamples as a file, and back.

The file names the claims, cases and properties, and holds the final states that were found;
to replay it, each case is built anew from the source and the engine is asked whether those
properties still break. So a replay after a fix says that it is fixed.

To build a case runs Python: that of mkold, or that of the claims file which the replay file
names. A replay file from somebody else must not choose what runs, so only a claims file beside
it is run, or one that the caller names too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mkold.base.errors import InputError
from mkold.check import load
from mkold.check.claim import Claim
from mkold.check.door import shown
from mkold.check.result import ClaimResult

SCHEMA = "mkold.replay/1"


def saved(results: Iterable[ClaimResult], files: Mapping[str, Path] | None = None) -> str:
    """All breaches of ``results`` as the text of a replay file.

    Parameters
    ----------
    files : for claims that do not ship with mkold: the file, by the claim's name
    """
    breaches = [
        {
            "file": _file(files or {}, result.claim),
            "claim": result.claim.name,
            "case": case.label,
            "property": breach.property,
            "state": [hex(word) for word in breach.state],
        }
        for result in results
        for case in result.cases
        for breach in case.breaches
    ]
    return json.dumps({"schema": SCHEMA, "findings": breaches}, indent=2)


def _file(files: Mapping[str, Path], claim: Claim) -> str:
    return str(files[claim.name].resolve()) if claim.name in files else ""


def asked(
    path: Path, named: Collection[Path] = (), timeout_s: float = load.LOAD_S
) -> Iterator[Claim]:
    """What a replay file asks: a claim for each case, refuted if any of its breaches is there.

    Parameters
    ----------
    named : claims files that may be run wherever they are
    timeout_s : for each claims file to run in

    Raises
    ------
    InputError : the file is no replay file, or names what is not there or may not be run
    """
    pools: dict[str, list[Claim]] = {}
    asked = _read(path)
    trusted = {file.resolve() for file in named}
    for file in dict.fromkeys(file for file, _, _ in asked):
        if file:
            _refuse_strange(path, Path(file), trusted)
    for (file, name, label), properties in asked.items():
        if file not in pools:
            pools[file] = load.from_file(Path(file), timeout_s) if file else load.shipped()
        claim = next((claim for claim in pools[file] if claim.name == name), None)
        if claim is None:
            raise InputError(f"{path}: there is no claim {name} any more")
        case = next((case for case in claim.cases if case.label == label), None)
        if case is None:
            raise InputError(f"{path}: claim {name} has no case {label!r} any more")
        again = replace(case, only=frozenset(properties), decides=True)
        yield replace(claim, cases=(again,), asks="always")


def _refuse_strange(path: Path, file: Path, trusted: Collection[Path]) -> None:
    """A claims file that is neither beside the replay file nor named is not run."""
    if file.resolve() in trusted or file.resolve().parent == path.resolve().parent:
        return
    raise InputError(
        f"{path} would run {shown(str(file))}, which is not beside it\n"
        "  hint: if you trust that file, name it too: mkold check --replay FILE CLAIMS.py"
    )


def _read(path: Path) -> dict[tuple[str, str, str], list[str]]:
    """Properties by file, claim and case."""
    try:
        body = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise InputError(f"{path} is not a replay file (schema {SCHEMA})")
    breaches = body.get("findings")
    if not isinstance(breaches, list) or not breaches:
        raise InputError(f"{path} holds no counterexample")
    found: dict[tuple[str, str, str], list[str]] = {}
    for breach in breaches:
        claim, case, broken = _fields(path, breach)
        file = str(breach.get("file", ""))
        found.setdefault((file, claim, case), []).append(broken)
    return found


def _fields(path: Path, breach: Any) -> tuple[str, str, str]:
    match breach:
        case {"claim": str(claim), "case": str(case), "property": str(broken)}:
            return claim, case, broken
    raise InputError(f"{path}: a finding needs claim, case and property")
