"""Cases as C litmus tests, so that herd7 can be asked the same question.

A program fits herd's dialect if its accesses have fixed addresses, its loops are bounded
and its functions can be inlined; ``mkold.litmus.write`` says what does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mkold.base.errors import UnsupportedError
from mkold.base.output import write_file
from mkold.check.claim import Claim
from mkold.check.program import build
from mkold.litmus.write import write


def export(claims: Iterable[Claim], folder: Path, *, force: bool = False) -> str:
    """Write one ``.litmus`` file a case that fits; returns what was written and what not.

    Raises
    ------
    InputError : a file exists and ``force`` is not set
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for claim in claims:
        for i, case in enumerate(claim.cases):
            name = re.sub(r"[^A-Za-z0-9]+", "-", f"{claim.name}-{i}-{case.label}").strip("-")
            try:
                text = write(build(case.scenario, case.edits).program)
            except UnsupportedError as error:
                lines.append(f"not exported: {claim.name}: {case.label}: {error}")
                continue
            path = folder / f"{name}.litmus"
            write_file(path, text, force=force)
            lines.append(f"{path}")
    return "\n".join(lines)
