"""What is needed, as text and as values: by file and function, in source order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import PurePath
from typing import Any

from mkold.check.needed.answer import Answers, Need
from mkold.check.needed.held import Open
from mkold.ir.variant import Site

_NAME_WIDTH = 34
_VERDICT_WIDTH = 17


def needed_text(answers: Answers) -> str:
    """One line a place, under its function, under its file; then what was not decided."""
    needs = list(answers.needs)
    if not needs and not answers.open:
        return "no ordering primitive in these cases"
    lines: list[str] = []
    for file, of_file in groupby(sorted(needs, key=_order), key=_file):
        lines.append(file)
        for function, of_function in groupby(of_file, key=lambda need: need.site.function):
            lines.append(f"  {function}")
            for need in of_function:
                lines.append(f"    {_line(need)}")
                lines += [f"{'':<{_NAME_WIDTH + 5}}{_open(one)}" for one in need.open]
    if answers.open:
        lines += ["", "not decided as they are, so nothing was tried in them:"]
        lines += [f"  {_open(one)}" for one in answers.open]
    return "\n".join([*lines, "", _summary(needs)])


def _open(one: Open) -> str:
    form = f"{one.form} undecided in " if one.form else ""
    return f"{form}{one.claim}, {one.case}: {one.reason}"


def _order(need: Need) -> tuple[str, int, str, int]:
    at = need.site.at
    return (_file(need), at.line if at else 0, need.site.prim, need.site.index)


def _file(need: Need) -> str:
    """The file, from the package's folder on."""
    if need.site.at is None:
        return "?"
    path = PurePath(need.site.at.file)
    parts = path.parts
    if "mkold" in parts:
        return "/".join(parts[len(parts) - parts[::-1].index("mkold") :])
    return path.name


def _line(need: Need) -> str:
    line = need.site.at.line if need.site.at else 0
    place = f"{line:>4} {_shown(need.site)}"
    if len(place) > _NAME_WIDTH:
        place = place[: _NAME_WIDTH - 1] + "…"
    return f"{place:<{_NAME_WIDTH}} {_answer(need)}".rstrip()


def _shown(site: Site) -> str:
    return f"{site.prim}({site.what})" if site.what else site.prim


def _answer(need: Need) -> str:
    why = f"{_breaks(need)}" if need.breaks else ""
    match need.verdict:
        case "weaker would do":
            return f"{f'{need.form} would do':<{_VERDICT_WIDTH}} {why}"
        case "not needed":
            enough = f"({need.form} will do in {_cases(need.n_cases)})"
            return f"{need.verdict:<{_VERDICT_WIDTH}} {enough}"
        case "undecided" if need.aside:
            aside = f"every case leaves {', '.join(need.aside)} aside"
            return f"{need.verdict:<{_VERDICT_WIDTH}} {aside}"
        case verdict:
            return f"{verdict:<{_VERDICT_WIDTH}} {why}"


def _breaks(need: Need) -> str:
    """What the strongest form that does not do breaks, and in which claim."""
    last = need.breaks[-1]
    return f"{last.form}: {', '.join(last.broken)} in {last.claim}"


def _cases(n: int) -> str:
    return f"{n} case" if n == 1 else f"{n} cases"


def _summary(needs: Iterable[Need]) -> str:
    needs = list(needs)
    counts = [
        f"{sum(need.verdict == verdict for need in needs)} {verdict}"
        for verdict in ("needed", "weaker would do", "not needed", "undecided")
        if any(need.verdict == verdict for need in needs)
    ]
    seconds = sum(need.cpu_s for need in needs)
    return f"{len(needs)} places: {', '.join(counts)}; {seconds:.0f} s of processor time"


def _open_json(found: Iterable[Open]) -> list[dict[str, str]]:
    return [
        {"form": one.form, "claim": one.claim, "case": one.case, "reason": one.reason}
        for one in found
    ]


def needed_json(answers: Answers) -> dict[str, Any]:
    """The same as values."""
    return {
        "schema": "mkold.needed/3",
        "open": _open_json(answers.open),
        "places": [
            {
                "site": need.site.name,
                "what": need.site.what,
                "at": str(need.site.at or ""),
                "verdict": need.verdict,
                "form": need.form,
                "breaks": [
                    {
                        "form": one.form,
                        "claim": one.claim,
                        "case": one.case,
                        "broken": list(one.broken),
                    }
                    for one in need.breaks
                ],
                "open": _open_json(need.open),
                "aside": list(need.aside),
                "cases": need.n_cases,
                "cpu_s": round(need.cpu_s, 3),
            }
            for need in answers.needs
        ],
    }
