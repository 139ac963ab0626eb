"""Claims and their verdicts as text and as JSON values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mkold.check.claim import Claim
from mkold.check.result import Breach, CaseResult, ClaimResult

if TYPE_CHECKING:
    from mkold.check.story.explain import Story

WIDTH = 96
SCHEMA = "mkold.check/1"
_MARK = {"holds": "ok ", "counterexample": "BAD", "undecided": " ? ", "error": "ERR"}


def list_text(claims: Iterable[Claim]) -> str:
    """Each claim with its sentence, source and cases."""
    lines = []
    for claim in claims:
        lines.append(_head(claim))
        if claim.arch:
            lines.append(f"    about {claim.arch}")
        lines += [f"      {case.label}" for case in claim.cases]
    return "\n".join(lines)


def list_json(claims: Iterable[Claim]) -> dict[str, Any]:
    """The same as values."""
    return {
        "schema": SCHEMA,
        "claims": [
            {**_claim_json(claim), "cases": [case.label for case in claim.cases]}
            for claim in claims
        ],
    }


def claim_text(result: ClaimResult, *, explain: bool = False, diff: bool = False) -> str:
    """A claim's verdict, case by case."""
    lines = [_head(result.claim)]
    for found in result.cases:
        lines.append(_case_line(result.claim, found))
        if diff:
            lines += _indented(found.changes or "(the source as it ships)")
        if explain and found.breaches:
            lines += _indented(breaches_text(found.breaches))
    lines.append(f"   => {result.verdict}{_rests(result)}\n")
    return "\n".join(lines)


def _rests(result: ClaimResult) -> str:
    """What the deciding cases' verdicts rest on, if no counterexample shows them."""
    grounds = [case.grounds for case in result.cases if case.decides and case.status == "holds"]
    if not grounds:
        return ""
    engines = sorted({one.engine for one in grounds})
    said = [
        f"engine {' and '.join(engines)}",
        "every loop is finite or waits" if any(one.loops for one in grounds) else "no loops",
        "no bound was hit",
        *sorted({text for one in grounds for text in one.assumed}),
    ]
    return f"  ({'; '.join(said)})"


def _head(claim: Claim) -> str:
    said = textwrap.wrap(f'"{claim.sentence}"', WIDTH - 4)
    body = "\n".join(f"    {line}" for line in said)
    return f"{claim.name}\n{body}\n    -- {claim.source}"


def _case_line(claim: Claim, found: CaseResult) -> str:
    status = found.status
    mark = _MARK[status]
    if claim.asks == "possible":
        mark = {"counterexample": "yes", "holds": "no "}.get(status, mark)
    what = ", ".join(found.broken) or found.reason or ("no state" if mark == "no " else "holds")
    beside = "" if found.decides else "  (for contrast)"
    return f"  {mark} {found.label:<52} {what}{beside}  [{found.cpu_s:.2f} s]"


def breaches_text(breaches: Iterable[Breach]) -> str:
    """Each broken property in words, and its picture."""
    from mkold.check.story.explain import race_words, stories

    told = stories(breaches)
    parts = []
    for breach, story, same in told:
        head = f"{breach.property}: {breach.sentence}"
        if same is not None:
            shown = f"The execution of {told[same][0].property} shows it too."
            head = f"{head} {shown} {race_words(story)}".rstrip()
            story = None
        elif story is None:
            head += " (No execution could be drawn.)"
        parts.append("\n".join([textwrap.fill(head, WIDTH - 6), *_story_lines(story)]))
    return "\n".join(parts)


def _story_lines(story: Story | None) -> list[str]:
    if story is None:
        return []
    from mkold.view.story import picture_of
    from mkold.view.text import draw_text

    said = [
        textwrap.fill(f"- {text}", WIDTH - 6, subsequent_indent="  ") for text in story.words
    ]
    return [*said, "", draw_text(picture_of(story, words=False)), ""]


def _indented(text: str) -> list[str]:
    return textwrap.indent(text, "      ").splitlines()


def summary_text(results: list[ClaimResult]) -> str:
    """One line a claim, and the totals."""
    lines = [f"{r.verdict:<10} {_cpu(r):6.2f} s  {r.claim.name}" for r in results]
    n = {v: sum(r.verdict == v for r in results) for v in ("holds", "refuted", "undecided")}
    total = sum(map(_cpu, results))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in n.items() if count)
    lines.append(f"{len(results)} claims: {counts}; {total:.1f} s of CPU in the engine")
    return "\n".join(lines)


def _cpu(result: ClaimResult) -> float:
    return sum(case.cpu_s for case in result.cases)


def results_json(results: Iterable[ClaimResult]) -> dict[str, Any]:
    """Verdicts as values."""
    return {"schema": SCHEMA, "claims": [_result_json(result) for result in results]}


def _claim_json(claim: Claim) -> dict[str, Any]:
    return {
        "name": claim.name,
        "sentence": claim.sentence,
        "source": claim.source,
        "asks": claim.asks,
        "arch": claim.arch,
    }


def _result_json(result: ClaimResult) -> dict[str, Any]:
    cases = [
        {
            "label": case.label,
            "decides": case.decides,
            "status": case.status,
            "broken": list(case.broken),
            "reason": case.reason,
            "states": case.n_states,
            "threads": case.n_threads,
            "cpu_s": round(case.cpu_s, 4),
            "engine": case.grounds.engine,
            "loops": case.grounds.loops,
            "bound": case.grounds.bound or None,
            "assumed": list(case.grounds.assumed),
        }
        for case in result.cases
    ]
    return {**_claim_json(result.claim), "verdict": result.verdict, "cases": cases}
