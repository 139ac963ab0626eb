"""Cases that have no answer: what is said of them, and the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mkold.base.errors import Exit
from mkold.base.shown import shown

if TYPE_CHECKING:
    from mkold.check.claim import Claim
    from mkold.check.result import CaseResult, ClaimResult


def say_faults(result: ClaimResult, told: set[str]) -> None:
    """Each error once, whole, on standard error."""
    for case in result.cases:
        if case.fault is not None and case.fault.text not in told:
            told.add(case.fault.text)
            print(shown(f"mkold: {case.fault.text}", keep="\n"), file=sys.stderr)
            if case.fault.traceback and os.environ.get("MKOLD_DEBUG"):
                sys.stderr.write(case.fault.traceback)


def exit_code(results: Sequence[ClaimResult]) -> Exit:
    """By the worst that there is."""
    faults = [case.fault for result in results for case in result.cases if case.fault]
    verdicts = {result.verdict for result in results}
    if any(fault.traceback for fault in faults):
        return Exit.INTERNAL
    if faults:
        return Exit.BAD_INPUT
    if "refuted" in verdicts:
        return Exit.COUNTEREXAMPLE
    return Exit.UNDECIDED if "undecided" in verdicts else Exit.HOLDS


def without_answer(claim: Claim, found: Iterable[CaseResult | None]) -> Exit:
    """Say why some cases have none; the exit code for that."""
    from mkold.check.result import ClaimResult

    some = tuple(result for result in found if result is not None)
    if not some:
        return Exit.HOLDS
    results = ClaimResult(claim, some)
    say_faults(results, set())
    return exit_code([results])
