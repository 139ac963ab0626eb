"""The cases that the answers rest on: those of the source as it is, decided first.

A case counts if it holds with every property looked at. If it looks at some alone (``only``)
and others break as it is, it counts too, and a weaker form must break none but those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from mkold.base.errors import Pos
from mkold.base.workers import Died, each, hard_limit
from mkold.check.claim import Case, Claim
from mkold.check.many import Limits, answer, dead
from mkold.check.program import build_case
from mkold.check.result import CaseResult
from mkold.ir.nodes import Function
from mkold.ir.variant import Set


@dataclass(frozen=True, slots=True)
class Held:
    """A case to try weaker forms in.

    ``functions`` are those of its program, ``exercised`` the places of the source that it has
    events for, ``broken`` the properties that break as it is.
    """

    claim: str
    case: Case
    functions: dict[str, Function]
    exercised: frozenset[Pos | None]
    broken: frozenset[str]
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Open:
    """A question that has no answer; ``form`` is empty for the source as it is."""

    form: str
    claim: str
    case: str
    reason: str


def cases_as_they_are(
    claims: Iterable[Claim], limits: Limits, progress: Callable[[str], None]
) -> tuple[list[Held], list[Open]]:
    """Cases of the source as it is that hold, the quickest first; and those left open."""
    asked = distinct(claims)
    cases = [replace(case, only=frozenset()) for _, case in asked]
    held: list[Held] = []
    left: list[Open] = []
    done = each(
        partial(_look, limits=replace(limits, show=False)), cases, jobs=limits.jobs,
        hard_s=hard_limit(limits.timeout_s), memory_bytes=limits.memory_bytes, chunk=1,
    )  # fmt: skip
    for n, (index, found) in enumerate(done, 1):
        claim, case = asked[index]
        progress(f"{n} of {len(cases)} cases as they are, {claim.name}: {case.label}")
        if isinstance(found, Died):
            found = _Look(dead(cases[index], found, limits.timeout_s))
        result = found.result
        broken = frozenset(result.broken)
        places = frozenset(at for _, at in result.grounds.exercised)
        if result.status in ("undecided", "error"):
            left.append(Open("", claim.name, case.label, result.reason))
        elif not broken or (case.only and not broken & case.only):
            held.append(
                Held(claim.name, cases[index], found.functions, places, broken, result.cpu_s)
            )
    return sorted(held, key=lambda one: one.cpu_s), left


def distinct(claims: Iterable[Claim]) -> list[tuple[Claim, Case]]:
    """Each question about the source as it is once; all properties before some."""
    found: dict[tuple[object, ...], tuple[Claim, Case]] = {}
    for claim in claims:
        for case in claim.cases:
            if all(isinstance(edit, Set) for edit in case.edits):
                found.setdefault((id(case.scenario), case.edits, case.only), (claim, case))
    return [
        one for key, one in found.items() if not key[2] or (*key[:2], frozenset()) not in found
    ]


@dataclass(frozen=True, slots=True)
class _Look:
    result: CaseResult
    functions: dict[str, Function] = field(default_factory=dict)


def _look(case: Case, limits: Limits) -> _Look:
    """Whether it holds, and its functions."""
    result = answer(case, limits)
    if result.status not in ("holds", "counterexample"):
        return _Look(result)
    return _Look(result, dict(build_case(case).program.functions))
