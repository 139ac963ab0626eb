"""The page of a run: each guest with its table and pictures, the sentence on top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mkold.base.shown import xml
from mkold.run.finding import summary
from mkold.run.results import RunResult
from mkold.view.page import page
from mkold.view.report import plots
from mkold.view.run import guest_text


def report_html(results: Sequence[RunResult]) -> str:
    """The whole report as one file that needs nothing else."""
    return "\n".join(page("mkold run", _body(results))) + "\n"


def _body(results: Sequence[RunResult]) -> Iterator[str]:
    said = summary(results)
    if said:
        yield f"<p><b>{xml(said)}</b></p>"
    for result in results:
        yield "<section>"
        yield f"<h2>{xml(result.trace.name)}</h2>"
        yield f"<pre>{xml(guest_text(result))}</pre>"
        yield from _pictures(result)
        yield "</section>"


def _pictures(result: RunResult) -> Iterator[str]:
    paths = [path for path in result.paths if path.rounds]
    if not paths:
        return
    yield _figure("The guest's speed and the time of a pass, with 95 % intervals.",
                  plots.rates(paths))  # fmt: skip
    yield _figure("Where the vCPUs' time goes.", plots.waiting(paths))
    yield _figure("Guest faults by how long they take.", plots.latencies(paths))
    first = [path for path in paths if " #" not in path.path]
    yield _figure("Pages by generation over time.", plots.generations(first, result.pages))
    if result.activity is not None:
        listed = result.activity.in_words()
        yield _figure(f"What the program touches, and its working set ({listed} pages).",
                      plots.heat(result.activity))  # fmt: skip


def _figure(caption: str, picture: str) -> str:
    if not picture:
        return ""
    return f"<figure>{picture}<figcaption>{xml(caption)}</figcaption></figure>"
