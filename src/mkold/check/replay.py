"""A counterexample as a file, and back.

The file names the claim, the case and the property, and holds the final state that was
found; to replay it, the case is built anew from the source and the engine is asked
whether that property still breaks. So a replay after a fix says that it is fixed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mkold.base.errors import InputError
from mkold.check import load
from mkold.check.claim import Claim
from mkold.check.decide import ClaimResult, decide_claim

SCHEMA = "mkold.replay/1"


def saved(results: Iterable[ClaimResult], file: Path | None = None) -> str:
    """All findings of ``results`` as the text of a replay file."""
    findings = [
        {
            "claim": result.claim.name,
            "case": case.label,
            "property": finding.property,
            "state": [hex(word) for word in finding.state],
        }
        for result in results
        for case in result.cases
        for finding in case.findings
    ]
    body = {"schema": SCHEMA, "file": str(file) if file else "", "findings": findings}
    return json.dumps(body, indent=2)


def replay(path: Path, *, timeout_s: float) -> ClaimResult:
    """Decide the first finding of a replay file again.

    Raises
    ------
    InputError : the file is no replay file, or names what is not there
    """
    finding, file = _read(path)
    pool = load.from_file(Path(file)) if file else load.shipped()
    (claim,) = load.select(pool, [finding["claim"]])
    cases = [case for case in claim.cases if case.label == finding["case"]]
    if not cases:
        raise InputError(f"{path}: claim {claim.name} has no case {finding['case']!r}")
    case = replace(cases[0], only=frozenset({finding["property"]}), decides=True)
    return decide_claim(_only(claim, case), timeout_s=timeout_s)


def _only(claim: Claim, case: Any) -> Claim:
    return replace(claim, cases=(case,))


def _read(path: Path) -> tuple[dict[str, str], str]:
    try:
        body = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise InputError(f"{path} is not a replay file (schema {SCHEMA})")
    findings = body.get("findings")
    if not isinstance(findings, list) or not findings:
        raise InputError(f"{path} holds no counterexample")
    first = findings[0]
    if not isinstance(first, dict) or not {"claim", "case", "property"} <= first.keys():
        raise InputError(f"{path}: a finding needs claim, case and property")
    return first, str(body.get("file", ""))
