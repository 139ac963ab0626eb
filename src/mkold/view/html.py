"""Verdicts and counterexamples as one self-contained HTML file, or one as SVG.

The page holds its own style and its pictures; it reads well in light and in dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from mkold.base.errors import InputError
from mkold.check.claim import Case
from mkold.check.decide import CaseResult, ClaimResult, Finding
from mkold.view.svg import execution_svg

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
pre{overflow-x:auto;padding:.6rem;border:1px solid #8886;border-radius:4px}
svg{max-width:100%;height:auto}
"""


def counterexamples_html(results: Iterable[ClaimResult]) -> str:
    """Every claim with its cases, and a picture of each counterexample."""
    return "\n".join(_page(results)) + "\n"


def first_svg(results: Iterable[ClaimResult]) -> str:
    """The first counterexample as SVG.

    Raises
    ------
    InputError : nothing broke, or what broke can't be drawn
    """
    for result in results:
        for case in result.cases:
            for finding in case.findings:
                if finding.execution is not None:
                    return _svg(finding)
    raise InputError("no counterexample to draw: every case holds or is undecided")


def _page(results: Iterable[ClaimResult]) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><meta charset="utf-8">'
    yield f"<title>mkold check</title><style>{_STYLE}</style>"
    for result in results:
        yield f"<h2>{escape(result.claim.name)}: {result.verdict}</h2>"
        yield f"<p>{escape(result.claim.sentence)}</p>"
        for case, found in zip(result.claim.cases, result.cases, strict=True):
            yield from _case(case, found)
    yield "</html>"


def _case(case: Case, found: CaseResult) -> Iterator[str]:
    yield f"<h3>{escape(case.label)}: {found.status}</h3>"
    for finding in found.findings:
        yield f"<p>{escape(finding.property)}: {escape(finding.sentence)}</p>"
        if finding.execution is not None:
            yield _svg(finding)


def _svg(finding: Finding) -> str:
    assert finding.execution is not None
    return execution_svg(finding.execution, finding.program, finding.property)
