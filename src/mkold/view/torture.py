"""Torture runs as text and as JSON values."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from mkold.check.torture.run import TortureResult

_WIDTH = 96
ALARM = (
    "THE MODEL RULES OUT WHAT THE MACHINE DID: an error of mkold's, in the model, the compiler "
    "or a lock, never of the scenario"
)


def torture_text(results: Sequence[TortureResult]) -> str:
    """One line a case, and both sides' record of what the model rules out."""
    return "\n".join(line for result in results for line in _lines(result))


def _lines(r: TortureResult) -> list[str]:
    mark = "BAD" if r.ruled_out else "ok "
    note = f"  {r.note}" if r.note else ""
    said = f"{r.rounds} rounds, {r.n_seen} of {r.n_allowed} outcomes seen"
    lines = [f"{mark} {r.scenario:<34} {r.label:<40} {said}{note}"]
    if r.ruled_out:
        for text in (ALARM, *r.ruled_out):
            lines += textwrap.wrap(text, _WIDTH, initial_indent="    ",
                                   subsequent_indent="      ")  # fmt: skip
    return lines


def torture_json(results: Sequence[TortureResult]) -> dict[str, Any]:
    """The same as values."""
    return {
        "schema": "mkold.torture/2",
        "cases": [
            {
                "scenario": r.scenario,
                "label": r.label,
                "rounds": r.rounds,
                "seen": r.n_seen,
                "allowed": r.n_allowed,
                "forbidden": [list(state) for state in r.forbidden],
                "ruled_out": list(r.ruled_out),
                "note": r.note,
            }
            for r in results
        ],
    }
