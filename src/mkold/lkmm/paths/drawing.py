"""One execution, as an engine found it, into one that can be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from mkold.lkmm.graph.events import INIT, Graph
from mkold.lkmm.naming import Naming
from mkold.lkmm.paths.paths import Act
from mkold.lkmm.verdict import INIT_THREAD, Axiom, Cycle, Edge, Event, Execution, Wait


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one execution; events go by their numbers in the graph.

    Parameters
    ----------
    acts : everything that happens
    values : the word of each access
    initial : the first word of each address that is accessed
    rf : each read's source, ``INIT`` for the initial word
    orders : the writes to each address that is written, in coherence order
    steps : ``rmw``, ``addr``, ``data`` and ``ctrl`` edges
    final : the value of each entry of ``Program.observed``
    waits : who is not done, of an execution at rest
    """

    graph: Graph
    acts: Mapping[int, Act]
    values: Mapping[int, int]
    initial: Mapping[int, int]
    rf: Mapping[int, int]
    orders: Mapping[int, Sequence[int]]
    steps: Sequence[Edge]
    final: tuple[int, ...]
    waits: Sequence[Wait] = ()


@dataclass(frozen=True, slots=True)
class Broken:
    """The cycle that an axiom forbids, by the graph's numbers: see ``verdict.Cycle``."""

    axiom: Axiom
    edges: Sequence[Edge]
    parts: Sequence[Edge] = ()


def draw(
    found: Found, broken: Broken | None = None, race: tuple[int, int] | None = None
) -> Execution:
    """The execution, with the cycle that forbids it or two events that race."""
    events, number = _events(found)
    first = {events[i].address: i for i in range(len(events)) if events[i].kind == "IW"}

    def renumbered(edges: Iterable[Edge]) -> tuple[Edge, ...]:
        return tuple(Edge(number[e.source], e.relation, number[e.target]) for e in edges)

    def address(event: int) -> int:
        return found.acts[event].address

    sources = [
        Edge(first[address(read)] if source == INIT else number[source], "rf", number[read])
        for read, source in found.rf.items()
    ]
    chains = [
        [start, *(number[write] for write in found.orders.get(place, ()))]
        for place, start in zip(sorted(found.initial), first.values(), strict=True)
    ]
    co = [Edge(a, "co", b) for chain in chains for a, b in pairwise(chain)]
    edges = (*sources, *co, *renumbered(_overwritten(found)), *renumbered(found.steps))
    cycle = None
    if broken is not None:
        cycle = Cycle(broken.axiom, renumbered(broken.edges), renumbered(broken.parts))
    names = tuple(found.graph.thread_names)
    pair = None if race is None else (number[race[0]], number[race[1]])
    waits = tuple(
        replace(wait, events=tuple(number[event] for event in wait.events))
        for wait in found.waits
    )
    return Execution(names, tuple(events), edges, found.final, cycle, pair, waits)


def _events(found: Found) -> tuple[list[Event], dict[int, int]]:
    """Initial writes, then each thread's events; and the places of the latter."""
    naming = Naming(found.graph.program.symbols)
    events = [
        Event(i, INIT_THREAD, i, "IW", "", address, naming.place(address), word)
        for i, (address, word) in enumerate(sorted(found.initial.items()))
    ]
    number: dict[int, int] = {}
    for act in sorted(found.acts.values(), key=lambda act: (act.thread, act.id)):
        node = act.node
        number[act.id] = len(events)
        address = act.address if act.address >= 0 else None
        events.append(
            Event(len(events), act.thread, node.po, act.kind, node.order, address,
                  naming.place(address), found.values.get(act.id),
                  node.what, node.prim, node.at)
        )  # fmt: skip
    return events, number


def _overwritten(found: Found) -> Iterable[Edge]:
    """``fr`` to the next write only, and not from a read-modify-write to itself."""
    for read, source in found.rf.items():
        act = found.acts[read]
        order = found.orders.get(act.address, ())
        later = order if source == INIT else order[order.index(source) + 1 :]
        if later and later[0] != act.rmw:
            yield Edge(read, "fr", later[0])
