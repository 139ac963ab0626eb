"""Verdicts and counterexamples as one self-contained HTML file, or one as SVG.

The page holds its own style and its pictures; it reads well in light and in dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from mkold.base.errors import InputError
from mkold.base.shown import xml
from mkold.check.claim import Case
from mkold.check.result import CaseResult, ClaimResult
from mkold.check.story.explain import race_words, stories
from mkold.view.page import page
from mkold.view.story import picture_of
from mkold.view.svg import draw_svg

_STYLE = """
article{border-left:4px solid var(--line);padding-left:1rem;margin:1.5rem 0}
article.holds,article.happens{border-color:var(--ok)}article.counterexample{border-color:var(--bad)}
article.undecided{border-color:var(--open)}
.holds b,.happens b{color:var(--ok)}.refuted b,.counterexample b{color:var(--bad)}
.undecided b{color:var(--open)}
.source{opacity:.75}blockquote{margin:.5rem 0;font-style:italic}
.add{color:var(--ok)}.cut{color:var(--bad)}
"""
# What the statuses mean for a claim that something can happen.
_POSSIBLE = {"counterexample": "happens", "holds": "never"}


def counterexamples_html(results: Sequence[ClaimResult]) -> str:
    """Every claim with its cases: verdict, changes to the source, words and picture."""
    return "\n".join(page("mkold check", _body(results), _STYLE)) + "\n"


def first_svg(results: Iterable[ClaimResult]) -> str:
    """The first counterexample as SVG; what is broken is said before how it comes to it.

    Raises
    ------
    InputError : nothing broke, or what broke can't be drawn
    """
    for result in results:
        for case in result.cases:
            for breach, story, _ in stories(case.breaches):
                if story is not None:
                    title = f"{result.claim.name}, {case.label}: {breach.property}"
                    shown = picture_of(story, title)
                    return draw_svg(replace(shown, notes=(breach.sentence, *shown.notes)))
    raise InputError("no counterexample to draw: every case holds or is undecided")


def _body(results: Sequence[ClaimResult]) -> Iterator[str]:
    yield "<table><tr><th>claim</th><th>verdict</th><th></th></tr>"
    for result in results:
        yield _row(result)
    yield "</table>"
    for result in results:
        yield from _claim(result)


def _row(result: ClaimResult) -> str:
    name = xml(result.claim.name)
    return (
        f'<tr class="{result.verdict}"><td><a href="#{name}">{name}</a></td>'
        f"<td><b>{result.verdict}</b></td><td>{xml(result.claim.sentence)}</td></tr>"
    )


def _claim(result: ClaimResult) -> Iterator[str]:
    claim = result.claim
    yield f'<section id="{xml(claim.name, quote=True)}" class="{result.verdict}">'
    yield f"<h2>{xml(claim.name)}: <b>{result.verdict}</b></h2>"
    yield f"<blockquote>{xml(claim.sentence)}</blockquote>"
    yield f'<p class="source">{xml(claim.source)}</p>'
    for case, found in zip(claim.cases, result.cases, strict=True):
        status = found.status
        if claim.asks == "possible":
            status = _POSSIBLE.get(status, status)
        yield from _case(case, found, status)
    yield "</section>"


def _case(case: Case, found: CaseResult, status: str) -> Iterator[str]:
    beside = "" if case.decides else " (for contrast)"
    yield f'<article class="{status}">'
    yield f"<h3>{xml(case.label)}{beside}: <b>{status}</b></h3>"
    if found.reason:
        yield f"<p>{xml(found.reason)}</p>"
    if found.changes:
        yield from _diff(found.changes)
    told = stories(found.breaches)
    for breach, story, same in told:
        yield f"<p><b>{xml(breach.property)}</b>: {xml(breach.sentence)}"
        if same is not None:
            yield f" The execution of {xml(told[same][0].property)} shows it too."
            yield f" {xml(race_words(story))}</p>"
        elif story is None:
            yield " No execution could be drawn.</p>"
        else:
            yield "</p><ul>"
            yield from (f"<li>{xml(text)}</li>" for text in story.words)
            yield f"</ul><figure>{draw_svg(picture_of(story, words=False))}</figure>"
    yield "</article>"


def _diff(text: str) -> Iterator[str]:
    css = {"+": "add", "-": "cut"}
    lines = (
        f'<span class="{css[line[0]]}">{xml(line)}</span>'
        if line[:1] in css else xml(line) for line in text.splitlines()
    )  # fmt: skip
    yield "<details open><summary>changes to the source</summary><pre>"
    yield "\n".join(lines)
    yield "</pre></details>"
