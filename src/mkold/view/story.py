"""Pictures of counterexamples: cut down, with the lines of kernel Python they come from.

Where the events fit an order in time, each stands on a row of its own, time running down;
where they do not, each thread is a column in program order, as in every other picture.
"""

from __future__ import annotations

from mkold.check.story.explain import Story
from mkold.check.story.naming import at
from mkold.ir.prims import PRIMS
from mkold.ir.program import POISONS
from mkold.lkmm.naming import is_poisoned, label
from mkold.lkmm.verdict import Event
from mkold.view.grid import Box, Link, Picture, source_text


def picture_of(story: Story, title: str = "", *, words: bool = True) -> Picture:
    """Lay a story out; columns without events are left out."""
    execution = story.execution
    used = sorted({event.thread for event in execution.events})
    column = {thread: i for i, thread in enumerate(used)}
    rows = _rows(story)
    boxes = tuple(
        Box(event.id, story.letter(event.id), column[event.thread], rows[event.id],
            label(event, story.wording.place(event.address), story.wording.value(event)),
            _source(event), _mark(story, event))
        for event in map(execution.events.__getitem__, story.order)
    )  # fmt: skip
    links = tuple(Link(edge.source, edge.target, edge.relation) for edge in execution.edges)
    names = tuple(execution.threads[thread] for thread in used)
    return Picture(title, names, boxes, links, story.words if words else ())


def _rows(story: Story) -> dict[int, int]:
    if story.timed:
        return {event: row for row, event in enumerate(story.order)}
    rows: dict[int, int] = {}
    filled: dict[int, int] = {}
    for i in story.order:
        thread = story.execution.events[i].thread
        rows[i] = filled.get(thread, 0)
        filled[thread] = rows[i] + 1
    return rows


def _source(event: Event) -> str:
    """File and line, and the text there; where a variant put another primitive, that too."""
    text = source_text(event.at)
    written = text.partition("(")[0]
    if written in PRIMS and event.prim in PRIMS and written != event.prim:
        text = f"{event.prim} for {text}"
    return f"{at(event.at)}  {text}".rstrip()


def _mark(story: Story, event: Event) -> str:
    if story.execution.race is not None:
        return "race" if event.id in story.execution.race else ""
    if any(event.id in wait.events for wait in story.execution.waits):
        return "waits"
    if event.address is not None and is_poisoned(event.address):
        return "poison"
    if event.id in story.bad and event.value in POISONS:
        return "freed" if event.kind == "W" else "poison"
    return ""
