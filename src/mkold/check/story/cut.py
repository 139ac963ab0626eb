"""An execution cut down to what a person needs to see what breaks.

Rules
-----
1. Anchors carry the property: the two racing events; the read of POISON and the write that
   it reads from; the last write of each word that a bad final state is about. A final
   state puts every thread in question: up to its last write, or to its end if the state is
   about its results.
2. The past is what lies at or before an anchor in program order, or has an rf or co edge
   into the past.
3. Of the rf, co and fr edges between threads, those within the past are kept which nothing
   else says: not other edges at the same word with program order, and, outside cycles, not
   other edges with program order.
4. Kept are the anchors, the ends of those edges, the reads of other words that a reading
   anchor has its address from or a writing one its value, and the fences between kept events
   that order them; an RCU section only if it is open at an anchor and memory is freed.
5. Dependencies are shown between kept events, also where they run through others (``addr+``),
   unless a chain of shown ones says the same.

Known limits: which reads gave a result is not known, so every order that its thread took
part in is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from mkold.check.decide import About
from mkold.ir.program import POISON
from mkold.lkmm.verdict import INIT_THREAD, Edge, Event, Execution

COM = ("rf", "co", "fr")
DEPENDENCIES = ("addr", "data", "ctrl")
LOCK_KINDS = frozenset({"LKR", "LKW", "UL", "LF", "RL", "RU"})
_SECTION = {"rcu-lock": "rcu-unlock"}
_WRITES = frozenset({"W", "LKW", "UL"})
_MEMORY = frozenset({"R", "W", "IW"})

Graph = Mapping[int, Collection[int]]


@dataclass(frozen=True, slots=True)
class Anchors:
    """``events`` carry the property; of ``threads`` everything is in question, of
    ``writers`` everything up to its last write to a word that others touch too."""

    events: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    writers: tuple[int, ...] = ()


def anchors(execution: Execution, flag: str = "", about: About | None = None) -> Anchors:
    """What carries a broken property.

    Parameters
    ----------
    flag : the property's name, if it is one of the execution itself
    about : what the test of a bad final state looked at; None: the property is none
    """
    everything = tuple(range(len(execution.threads)))
    if about is not None:
        last = [e for e in execution.events if e.address in about.words]
        writes = tuple(event.id for event in last if _last(execution, event))
        return Anchors(writes, tuple(sorted(about.threads)), everything)
    if execution.race is not None:
        return Anchors(execution.race)
    bad = _first_poison(execution, initial=flag == "use-before-init")
    if bad is not None:
        source = _source(execution, bad)
        return Anchors((bad,) if source is None else (source, bad))
    locks = tuple(_shared_locks(execution)) if flag == "deadlock" else ()
    return Anchors(locks, () if locks else everything)


def _last(execution: Execution, event: Event) -> bool:
    """Whether ``event`` is the last write to its word."""
    if event.kind not in _WRITES:
        return False
    return not any(e.relation == "co" and e.source == event.id for e in execution.edges)


def _first_poison(execution: Execution, *, initial: bool) -> int | None:
    """The first read of POISON: of what was freed, or of what was never initialised."""
    found = [e for e in execution.events if e.kind == "R" and e.value == POISON]
    found.sort(key=lambda event: (event.po, event.thread))
    fitting = [e.id for e in found if (_source(execution, e.id) is None) == initial]
    return next(iter([*fitting, *(event.id for event in found)]), None)


def _source(execution: Execution, read: int) -> int | None:
    """The write that ``read`` reads from, unless that is the initial one."""
    for edge in execution.edges:
        if edge.relation == "rf" and edge.target == read:
            initial = execution.events[edge.source].thread == INIT_THREAD
            return None if initial else edge.source
    return None


def _shared_locks(execution: Execution) -> Iterator[int]:
    """Lock events of locks that more than one thread takes."""
    takers: dict[int | None, set[int]] = {}
    for event in execution.events:
        if event.kind in LOCK_KINDS:
            takers.setdefault(event.address, set()).add(event.thread)
    for event in execution.events:
        shared = len(takers.get(event.address, ())) > 1
        if event.kind in ("LKR", "UL") and shared:
            yield event.id


def cut(execution: Execution, anchor: Anchors) -> Execution:
    """The part of ``execution`` that shows what breaks; events are numbered anew."""
    keep = kept(execution, anchor)
    order = sorted(keep)
    number = {old: new for new, old in enumerate(order)}
    events = tuple(replace(execution.events[old], id=number[old]) for old in order)
    shown = [*_story(execution, anchor), *_dependencies(execution, keep)]
    edges = tuple(
        Edge(number[e.source], e.relation, number[e.target])
        for e in shown if e.source in number and e.target in number
    )  # fmt: skip
    race = execution.race
    pair = (number[race[0]], number[race[1]]) if race is not None else None
    return replace(execution, events=events, edges=edges, race=pair)


def kept(execution: Execution, anchor: Anchors) -> frozenset[int]:
    """Which events are kept, by their numbers in ``execution``."""
    story = _story(execution, anchor)
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


# -- rules 2 and 3: edges between threads ---------------------------------------------------


def _story(execution: Execution, anchor: Anchors) -> tuple[Edge, ...]:
    """The edges between threads to show, without threads that only look on."""
    past = _past(execution, anchor)
    while True:
        edges = _between_threads(execution, anchor, past)
        idle = _onlookers(execution, anchor, edges)
        if not idle:
            return edges
        past = frozenset(i for i in past if execution.events[i].thread not in idle)


def _onlookers(execution: Execution, anchor: Anchors, edges: Iterable[Edge]) -> set[int]:
    """Threads that only read, and carry nothing of the property."""
    ends = {end for edge in edges for end in (edge.source, edge.target)}
    events = [execution.events[i] for i in {*ends, *anchor.events}]
    active = {e.thread for e in events if e.kind != "R" or e.id in anchor.events}
    return {event.thread for event in events} - active - {*anchor.threads}


def _between_threads(
    execution: Execution, anchor: Anchors, past: Collection[int]
) -> tuple[Edge, ...]:
    com = [
        edge for edge in execution.edges
        if edge.relation in COM and edge.source in past and edge.target in past
        and execution.events[edge.source].thread != INIT_THREAD
    ]  # fmt: skip
    po = list(_program_order(execution, past))
    outer = [edge for edge in com if not _same(execution, edge, "thread")]
    ring = _cyclic([*po, *_pairs(com)])
    safe = [pair for pair in po if not set(pair) <= ring or _pair_at(execution, pair)]
    atomic = [(e.source, e.target) for e in execution.edges if e.relation == "rmw"]
    steps = [*safe, *atomic, *_pairs(com)]
    left = list(outer)
    for edge in sorted(outer, key=_weight(execution)):
        if _essential(execution, edge, anchor):
            continue
        others = [pair for pair in steps if pair != (edge.source, edge.target)]
        if _reaches(others, edge.source, edge.target):
            left.remove(edge)
            steps = others
    return tuple(left)


def _essential(execution: Execution, edge: Edge, anchor: Anchors) -> bool:
    """An rf edge between two anchors is the property itself."""
    return edge.relation == "rf" and {edge.source, edge.target} <= set(anchor.events)


def _weight(execution: Execution) -> Callable[[Edge], tuple[bool, int]]:
    """Which edges to try to do without first: locks, then co, fr, rf."""

    def weight(edge: Edge) -> tuple[bool, int]:
        lock = execution.events[edge.source].kind in LOCK_KINDS
        return not lock, ("co", "fr", "rf").index(edge.relation)

    return weight


def _pairs(edges: Iterable[Edge]) -> list[tuple[int, int]]:
    return [(edge.source, edge.target) for edge in edges]


def _same(execution: Execution, edge: Edge, field: str) -> bool:
    events = execution.events
    return bool(getattr(events[edge.source], field) == getattr(events[edge.target], field))


def _pair_at(execution: Execution, pair: tuple[int, int]) -> bool:
    """Two events at the same word."""
    a, b = (execution.events[i].address for i in pair)
    return a is not None and a == b


def _past(execution: Execution, anchor: Anchors) -> frozenset[int]:
    """Rule 2."""
    last: dict[int, int] = {}
    waiting = list(anchor.events)
    shared = _shared(execution)
    for event in execution.events:
        writes = event.thread in anchor.writers and event.kind in _WRITES
        if event.thread in anchor.threads or (writes and event.address in shared):
            waiting.append(event.id)
    into: dict[int, list[int]] = {}
    for edge in execution.edges:
        if edge.relation in ("rf", "co"):
            into.setdefault(edge.target, []).append(edge.source)
    by_thread = _threads(execution)
    while waiting:
        event = execution.events[waiting.pop()]
        seen = last.get(event.thread, -1)
        if event.thread == INIT_THREAD or event.po <= seen:
            continue
        last[event.thread] = event.po
        for earlier in by_thread[event.thread]:
            if seen < earlier.po <= event.po:
                waiting += into.get(earlier.id, [])
    return frozenset(e.id for e in execution.events if e.po <= last.get(e.thread, -1))


def _shared(execution: Execution) -> set[int | None]:
    """Words that more than one thread touches."""
    owner: dict[int | None, int] = {}
    shared: set[int | None] = set()
    for event in execution.events:
        if event.thread != INIT_THREAD and owner.setdefault(event.address, event.thread) != (
            event.thread
        ):
            shared.add(event.address)
    return shared


def _threads(execution: Execution) -> dict[int, list[Event]]:
    """Events by thread, in program order; no initial writes."""
    threads: dict[int, list[Event]] = {}
    for event in sorted(execution.events, key=lambda event: (event.po, event.id)):
        if event.thread != INIT_THREAD:
            threads.setdefault(event.thread, []).append(event)
    return threads


def _program_order(execution: Execution, among: Collection[int]) -> Iterator[tuple[int, int]]:
    """Neighbours in program order, and neighbours at the same word."""
    for events in _threads(execution).values():
        inside = [event for event in events if event.id in among]
        yield from ((a.id, b.id) for a, b in pairwise(inside))
        words: dict[int, int] = {}
        for event in inside:
            if event.address is not None:
                if event.address in words:
                    yield words[event.address], event.id
                words[event.address] = event.id


def _after(pairs: Iterable[tuple[int, int]]) -> dict[int, set[int]]:
    graph: dict[int, set[int]] = {}
    for a, b in pairs:
        graph.setdefault(a, set()).add(b)
    return graph


def _reached(graph: Graph, start: int) -> set[int]:
    """What can be reached from ``start`` in one step or more."""
    seen: set[int] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return seen


def _reaches(pairs: Iterable[tuple[int, int]], start: int, end: int) -> bool:
    return end in _reached(_after(pairs), start)


def rings(execution: Execution) -> set[int]:
    """Events on a cycle of program order and rf, co, fr: no order in time has them."""
    inside = {event.id for event in execution.events}
    com = [edge for edge in execution.edges if edge.relation in COM]
    return _cyclic([*_program_order(execution, inside), *_pairs(com)])


def _cyclic(pairs: Iterable[tuple[int, int]]) -> set[int]:
    graph = _after(pairs)
    return {node for node in graph if node in _reached(graph, node)}


# -- rule 4: fences and sections ------------------------------------------------------------


def _sections(execution: Execution, anchor: Anchors) -> Iterator[int]:
    """The opening of each RCU section that is open at an anchor, if memory is freed."""
    if not any(_frees(execution.events[i]) for i in anchor.events):
        return
    for events in _threads(execution).values():
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
    for events in _threads(execution).values():
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


# -- rule 5: dependencies -------------------------------------------------------------------


def _dependencies(execution: Execution, keep: Collection[int]) -> list[Edge]:
    """Dependencies between kept events, directly or through events left out."""
    steps: dict[int, list[tuple[str, int]]] = {}
    for edge in execution.edges:
        if edge.relation in DEPENDENCIES:
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
        if not _reaches([p for p in found if p != (e.source, e.target)], e.source, e.target)
    ]  # fmt: skip
    pairs = {(e.source, e.target) for e in rmw}
    return [*rmw, *(e for e in reduced if (e.source, e.target) not in pairs)]


def _rank(name: str) -> tuple[bool, int]:
    return name.endswith("+"), (*DEPENDENCIES, "dep").index(name.rstrip("+"))


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
