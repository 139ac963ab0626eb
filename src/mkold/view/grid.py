"""One layout for pictures of executions: thread = column, program order = row.

``picture`` turns an execution into boxes and links; ``svg``, ``dot`` and ``text`` draw it.
Initial writes get a column of their own, and only if something shown needs them. With a
cycle, its steps are ``strong`` and of the other edges only reads-from is kept.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mkold.base.errors import Pos
from mkold.ir.program import POISONS, Program
from mkold.litmus.names import Names
from mkold.lkmm.naming import Naming, label, letter
from mkold.lkmm.verdict import INIT_THREAD, Cycle, Edge, Event, Execution, Verdict

MAX_SOURCE = 48


@dataclass(frozen=True, slots=True)
class Box:
    """One event.

    ``mark``: ``""``, ``init``, ``freed``, ``poison`` (read), ``race`` or ``waits``.
    """

    id: int
    letter: str
    column: int
    row: int
    label: str
    source: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """``relation`` from box ``source`` to box ``target``; ``strong``: part of the cycle."""

    source: int
    target: int
    relation: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """What the drawers draw; ``boxes`` in reading order, ``notes`` are lines of prose."""

    title: str
    columns: tuple[str, ...]
    boxes: tuple[Box, ...]
    links: tuple[Link, ...]
    notes: tuple[str, ...] = ()


def explained(verdict: Verdict, program: Program) -> list[Picture]:
    """What explains a verdict: a witness, or why there is none; then one for each flag."""
    pictures = []
    formula = "the condition's formula"
    if verdict.witness is not None:
        title = f"{verdict.name}: {formula} holds here"
        pictures.append(picture(verdict.witness, program, title))
    elif verdict.forbidden is not None:
        cycle = verdict.forbidden.cycle
        why = f", forbidden by {cycle.axiom.value}" if cycle else ""
        title = f"{verdict.name}: {formula} would hold{why}"
        pictures.append(picture(verdict.forbidden, program, title))
    pictures += [
        picture(execution, program, f"{verdict.name}: {flag}")
        for flag, execution in verdict.flagged.items()
    ]
    return pictures


def picture(execution: Execution, program: Program | None = None, title: str = "") -> Picture:
    """Lay out ``execution``; ``program`` gives names to addresses and the final state."""
    links = list(_links(execution))
    needed = {end for link in links for end in (link.source, link.target)}
    needed.update(execution.race or ())
    shown = [
        event for event in execution.events
        if event.thread != INIT_THREAD or event.id in needed
    ]  # fmt: skip
    with_init = any(event.thread == INIT_THREAD for event in shown)
    shift = 1 if with_init else 0
    columns = (("initially",) if with_init else ()) + execution.threads
    naming = Naming(program.symbols if program else {})
    rows = dict(_rows(shown))
    ordered = sorted(shown, key=lambda event: (event.thread, rows[event.id]))
    boxes = tuple(
        Box(
            event.id, letter(i), event.thread + shift, rows[event.id],
            label(event, event.place, naming.word(event.value)),
            source_text(event.at), _mark(event, execution),
        )
        for i, event in enumerate(ordered)
    )  # fmt: skip
    notes = tuple(_notes(execution, program, {box.id: box.letter for box in boxes}))
    return Picture(title, columns, boxes, tuple(links), notes)


def _rows(events: Iterable[Event]) -> Iterable[tuple[int, int]]:
    """Row of each event: its place among the shown events of its thread."""
    threads: dict[int, list[Event]] = {}
    for event in events:
        threads.setdefault(event.thread, []).append(event)
    for column in threads.values():
        for row, event in enumerate(sorted(column, key=lambda event: (event.po, event.id))):
            yield event.id, row


def source_text(at: Pos | None) -> str:
    """The source text of an event, where it can still be read."""
    if at is None:
        return ""
    line = linecache.getline(at.file, at.line).rstrip("\n")
    text = line[at.col - 1 : at.end - 1] if at.end > at.col else line.strip()
    text = " ".join(text.split())
    return text if len(text) <= MAX_SOURCE else text[: MAX_SOURCE - 1] + "…"


def _mark(event: Event, execution: Execution) -> str:
    if execution.race and event.id in execution.race:
        return "race"
    if event.thread == INIT_THREAD:
        return "init"
    if event.value in POISONS and event.prim != "unpoison":
        return "freed" if event.kind == "W" else "poison"
    return ""


def _links(execution: Execution) -> Iterable[Link]:
    """The edges to draw, each once."""
    initial = {event.id for event in execution.events if event.thread == INIT_THREAD}
    seen: set[tuple[int, str, int]] = set()
    if execution.cycle is not None:
        for edge in _steps(execution.cycle):
            key = (edge.source, edge.relation, edge.target)
            if key not in seen:
                # rfe says more than rf between the same two events
                seen |= {key, (edge.source, edge.relation[:2], edge.target)}
                yield Link(edge.source, edge.target, edge.relation, strong=True)
    for edge in execution.edges:
        key = (edge.source, edge.relation, edge.target)
        kept = execution.cycle is None or edge.relation == "rf"
        if not kept or key in seen or {edge.source, edge.target} & initial:
            continue
        seen.add(key)
        yield Link(edge.source, edge.target, edge.relation)


def _steps(cycle: Cycle) -> tuple[Edge, ...]:
    return cycle.parts or cycle.edges


def _notes(
    execution: Execution, program: Program | None, letters: Mapping[int, str]
) -> Iterable[str]:
    cycle = execution.cycle
    if cycle is not None:
        yield f"axiom: {cycle.axiom.value}"
        for what, edges in (("cycle", cycle.edges), ("in steps", cycle.parts)):
            if edges:
                yield f"{what}: {path_text(edges, letters)}"
    if execution.race:
        first, second = (letters[event] for event in execution.race)
        yield f"race: {first} and {second} are not ordered, and one of them is plain"
    if execution.final and program is not None and program.observed:
        yield "final: " + Names(program.symbols).state(program, execution.final)


def path_text(edges: Iterable[Edge], letters: Mapping[int, str]) -> str:
    """``a -rf-> b -po-> a``; a step that does not start where the last ended, after a comma."""
    text, last = "", None
    for edge in edges:
        source = letters.get(edge.source, "?")
        if edge.source != last:
            text += f"{', ' if text else ''}{source}"
        text += f" -{edge.relation}-> {letters.get(edge.target, '?')}"
        last = edge.target
    return text
