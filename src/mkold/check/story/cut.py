"""An execution cut down to what a person needs to see what breaks.

Rules
-----
1. Kept are the anchors, the ends of the edges that tell the past, the reads of other words
   that a reading anchor has its address from or a writing one its value, and the fences
   between kept events that order them; an RCU section only if it is open at an anchor and
   memory is freed. A thread in question that keeps nothing else keeps its accesses.
2. Dependencies are shown between kept events, also where they run through others (``addr+``),
   unless a chain of shown ones says the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from mkold.check.story.anchors import Anchors
from mkold.check.story.past import between
from mkold.check.story.steps import by_thread, reaches
from mkold.ir.program import POISON
from mkold.lkmm.verdict import Edge, Event, Execution

_DEPENDENCIES = ("addr", "data", "ctrl")
_SECTION = {"rcu-lock": "rcu-unlock"}
_MEMORY = frozenset({"R", "W", "IW"})


def cut(execution: Execution, anchor: Anchors) -> Execution:
    """The part of ``execution`` that shows what breaks; events are numbered anew."""
    keep = kept(execution, anchor)
    order = sorted(keep)
    number = {old: new for new, old in enumerate(order)}
    events = tuple(replace(execution.events[old], id=number[old]) for old in order)
    shown = [*between(execution, anchor), *_dependencies(execution, keep)]
    edges = tuple(
        Edge(number[e.source], e.relation, number[e.target])
        for e in shown if e.source in number and e.target in number
    )  # fmt: skip
    race = execution.race
    pair = (number[race[0]], number[race[1]]) if race is not None else None
    waits = tuple(
        replace(wait, events=tuple(number[i] for i in wait.events if i in number))
        for wait in execution.waits
    )
    return replace(execution, events=events, edges=edges, race=pair, waits=waits)


def kept(execution: Execution, anchor: Anchors) -> frozenset[int]:
    """Which events are kept, by their numbers in ``execution``."""
    story = between(execution, anchor)
    keep = set(anchor.events)
    keep.update(end for edge in story for end in (edge.source, edge.target))
    keep.update(_sources(execution, anchor))
    for thread in anchor.threads if keep else range(len(execution.threads)):
        if not any(execution.events[i].thread == thread for i in keep):
            keep.update(e.id for e in execution.events
                        if e.thread == thread and e.kind in _MEMORY)  # fmt: skip
    keep.update(_sections(execution, anchor))
    return frozenset(keep | set(_fences(execution, keep)))


def _sources(execution: Execution, anchor: Anchors) -> Iterator[int]:
    """Reads that a reading anchor has its address from, or a writing one its value."""
    for edge in execution.edges:
        if edge.target in anchor.events:
            source, target = execution.events[edge.source], execution.events[edge.target]
            wanted = "addr" if target.kind == "R" else "data"
            if edge.relation == wanted and source.address != target.address:
                yield edge.source


def _frees(event: Event) -> bool:
    return event.kind == "W" and event.value == POISON


# -- fences and sections --------------------------------------------------------------------


def _sections(execution: Execution, anchor: Anchors) -> Iterator[int]:
    """The opening of each RCU section that is open at an anchor, if memory is freed."""
    if not any(_frees(execution.events[i]) for i in anchor.events):
        return
    for events in by_thread(execution).values():
        open_at: list[int] = []
        for event in events:
            if event.order in _SECTION:
                open_at.append(event.id)
            elif event.order in _SECTION.values() and open_at:
                open_at.pop()
            elif event.id in anchor.events and open_at:
                yield open_at[0]


def _fences(execution: Execution, keep: Collection[int]) -> Iterator[int]:
    """Fences between kept events that they order; of equal ones in a row the first."""
    markers = {*_SECTION, *_SECTION.values()}
    for events in by_thread(execution).values():
        shown = [event for event in events if event.id in keep and event.kind != "F"]
        row: set[str] = set()
        for event in events:
            if event.id in keep:
                row = set()
            if event.kind not in ("F", "SRCU") or event.order in markers:
                continue
            before = {other.kind[-1] for other in shown if other.po < event.po}
            after = {other.kind[-1] for other in shown if other.po > event.po}
            if orders(event.order, before, after) and not row & {event.order, "mb"}:
                row.add(event.order)
                yield event.id


def orders(fence: str, before: Collection[str], after: Collection[str]) -> bool:
    """Whether a fence orders kinds of events (``R``, ``W``) before it with kinds after."""
    match fence:
        case "wmb":
            return "W" in before and "W" in after
        case "rmb":
            return "R" in before and "R" in after
        case "barrier" | "rcu-lock" | "rcu-unlock":
            return False
        case _:
            return bool(before) and bool(after)


# -- dependencies ---------------------------------------------------------------------------


def _dependencies(execution: Execution, keep: Collection[int]) -> list[Edge]:
    """Dependencies between kept events, directly or through events left out."""
    steps: dict[int, list[tuple[str, int]]] = {}
    for edge in execution.edges:
        if edge.relation in _DEPENDENCIES:
            steps.setdefault(edge.source, []).append((edge.relation, edge.target))
    found: dict[tuple[int, int], str] = {}
    for start in sorted(keep):
        for end, name in _through(steps, start, keep):
            known = found.get((start, end))
            if known is None or _rank(name) < _rank(known):
                found[start, end] = name
    rmw = [e for e in execution.edges if e.relation == "rmw"]
    edges = [Edge(a, name, b) for (a, b), name in found.items()]
    reduced = [
        e for e in edges
        if not reaches([p for p in found if p != (e.source, e.target)], e.source, e.target)
    ]  # fmt: skip
    pairs = {(e.source, e.target) for e in rmw}
    return [*rmw, *(e for e in reduced if (e.source, e.target) not in pairs)]


def _rank(name: str) -> tuple[bool, int]:
    return name.endswith("+"), (*_DEPENDENCIES, "dep").index(name.rstrip("+"))


def _through(
    steps: Mapping[int, list[tuple[str, int]]], start: int, keep: Collection[int]
) -> Iterator[tuple[int, str]]:
    """Kept events that depend on ``start``, with the relation's name."""
    waiting = [(target, name, False) for name, target in steps.get(start, [])]
    seen: set[tuple[int, str]] = set()
    while waiting:
        node, name, long = waiting.pop()
        if (node, name) in seen:
            continue
        seen.add((node, name))
        if node in keep:
            yield node, f"{name}+" if long else name
            continue
        for step, target in steps.get(node, []):
            waiting.append((target, name if step == name else "dep", True))
