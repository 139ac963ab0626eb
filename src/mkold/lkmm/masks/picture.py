"""From masks back to one execution that can be shown, with the cycle that forbids it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, product

from mkold.lkmm.masks.answers import Answers, word_at
from mkold.lkmm.model.axioms import Judgement
from mkold.lkmm.model.base import Base
from mkold.lkmm.model.grace import Grace
from mkold.lkmm.model.relations import Rel, base, cyclic, path, trace, union
from mkold.lkmm.paths.drawing import Broken, Found, draw
from mkold.lkmm.paths.ordering import Section, is_memory
from mkold.lkmm.verdict import Axiom, Edge, Execution


def draw_allowed(judged: Judgement, answers: Answers, bit: int, flag: str = "") -> Execution:
    """The execution ``bit``; for ``data-race`` with the racing events."""
    race = None
    if flag == "data-race":
        race = next((a, b) for a, b, mask in judged.races if mask & bit)
    return draw(_found(judged, answers, bit), race=race)


def draw_forbidden(judged: Judgement, answers: Answers, wanted: int) -> Execution | None:
    """An execution that satisfies the formula but breaks an axiom, with the cycle."""
    for axiom, mask, rel in judged.broken:
        if mask & wanted:
            bit = (mask & wanted) & -(mask & wanted)
            broken = Broken(axiom, *_cycle(judged, rel, bit))
            return draw(_found(judged, answers, bit), broken)
    return None


def _found(judged: Judgement, answers: Answers, bit: int) -> Found:
    """One of the candidates."""
    candidates, base, deps = answers.candidates, judged.base, judged.order.deps
    accessed = {
        address: place
        for address, place in candidates.locations.items()
        if place.reads or place.writes
    }
    return Found(
        graph=answers.graph,
        acts=candidates.acts,
        values={
            act.id: word_at(candidates.words(act.value), bit)
            for act in candidates.acts.values()
            if act.is_read or act.is_write
        },
        initial={address: place.initial for address, place in accessed.items()},
        rf={
            read: source
            for read, sources in candidates.rf.items()
            for source, mask in sources.items()
            if mask & bit
        },
        orders={
            address: _ordered(place.writes, base.co, bit) for address, place in accessed.items()
        },
        steps=[
            Edge(a, rel.name, b)
            for rel in (base.rmw, deps.addr, deps.data, deps.ctrl)
            for a, b, mask in rel.pairs()
            if mask & bit
        ],
        final=answers.state_of(bit, answers.graph.program.observed),
    )


def _ordered(writes: Iterable[int], co: Rel, bit: int) -> list[int]:
    """Writes to one word in coherence order."""
    every = list(writes)
    return sorted(every, key=lambda w: -sum(bool(co.get(w, o) & bit) for o in every))


def draw_incoherent(judged: Judgement, answers: Answers, wanted: int) -> Execution | None:
    """An execution that satisfies the formula, but is not even coherent or atomic."""
    of = judged.base
    po_loc = base("po-loc", _po_loc(of), of.rows)
    rf = union("rf", of.rfe, of.rfi)
    together = union("coherence", po_loc, rf, of.co, of.fr)
    for bit in _low_bits(wanted):
        broken = None
        if cyclic(together) & bit:
            edges = _cycle(judged, together, bit)[1]
            broken = Broken(Axiom.COHERENCE, edges, edges)
        elif torn := _torn(of, bit):
            broken = Broken(Axiom.ATOMIC, torn, torn)
        if broken is not None:
            return draw(_found(judged, answers, bit), broken)
    return None


def _low_bits(mask: int) -> Iterator[int]:
    for _ in range(64):
        if not mask:
            return
        yield mask & -mask
        mask &= mask - 1


def _po_loc(of: Base) -> Iterator[tuple[int, int]]:
    for ordering in of.orderings:
        for acts in ordering.threads.values():
            accesses = [act for act in acts if act.is_read or act.is_write]
            for a, b in combinations(accesses, 2):
                if a.address == b.address:
                    yield a.id, b.id


def _torn(of: Base, bit: int) -> list[Edge]:
    """A read-modify-write with another thread's write between its halves."""
    for read, write, _ in of.rmw.pairs():
        for between, mask in of.fr.rows.get(read, {}).items():
            if mask & of.co.get(between, write) & bit:
                return [Edge(read, "fr", between), Edge(between, "co", write),
                        Edge(write, "rmw^-1", read)]  # fmt: skip
    return []


def _cycle(judged: Judgement, rel: Rel, bit: int) -> tuple[list[Edge], list[Edge]]:
    """A shortest cycle of ``rel``: its own edges, and those traced to the base."""
    if judged.grace is not None and rel is judged.grace.order:
        return _grace_cycle(judged.grace, bit)
    best: list[tuple[int, int]] | None = None
    for event in rel.rows:
        found = path(rel, event, event, bit)
        if found is not None and (best is None or len(found) < len(best)):
            best = found
    if best is None:  # plain-coherence: the edge itself is against the order
        pairs = [(a, b) for a, b, mask in rel.pairs() if mask & bit]
        return [Edge(a, rel.name, b) for a, b in pairs[:1]], []
    steps = [Edge(a, _step_name(rel, a, b, bit), b) for a, b in best]
    return steps, [edge for a, b in best for edge in trace(rel, a, b, bit)]


def _step_name(rel: Rel, a: int, b: int, bit: int) -> str:
    for part in rel.parts:
        if part.name in ("hb", "pb", "rb") and part.get(a, b) & bit:
            return part.name
    return rel.name


def _grace_cycle(grace: Grace, bit: int) -> tuple[list[Edge], list[Edge]]:
    """The chain of sections and grace periods, by their events."""
    for i, j, mask in grace.order.pairs():
        if mask & bit & grace.link.get(j, i):
            chain = [
                edge for edge in trace(grace.order, i, j, bit) if edge.source != edge.target
            ]
            chain.append(Edge(j, "rcu-link", i))
            steps: list[Edge] = []
            parts: list[Edge] = []
            for edge in chain:
                start, end = grace.sections[edge.source], grace.sections[edge.target]
                steps.append(Edge(start.lock, "rcu-link", end.unlock))
                parts += _link_steps(grace, start, end, bit)
                if not end.grace:
                    section = Edge(end.unlock, "rcu-rscs^-1", end.lock)
                    steps.append(section)
                    parts.append(section)
            return steps, parts
    return [], []


def _link_steps(grace: Grace, start: Section, end: Section, bit: int) -> list[Edge]:
    """One rcu-link as base edges: ``po? ; hb* ; pb* ; prop ; po``."""
    threads = grace.threads
    if start.thread == end.end_thread and start.start < end.end:
        return [Edge(start.lock, "po", end.unlock)]
    before = {act.id for act in threads[end.end_thread][: end.end]}
    firsts = [act for act in threads[start.thread][start.start :] if is_memory(act)]
    for first, ahead in product(firsts, _RELAYS):
        relay = [rel for rel, used in zip((grace.reach, grace.prop), ahead, strict=True)
                 if used]  # fmt: skip
        for last, edges in _relays(first.id, relay, bit):
            if last in before:
                enter = [] if first.id == start.lock else [Edge(start.lock, "po", first.id)]
                return [*enter, *edges, Edge(last, "po", end.unlock)]
    return []


# Which of "hb* ; pb*" and "prop" a link makes use of, the plainest first.
_RELAYS = ((False, False), (False, True), (True, False), (True, True))


def _relays(first: int, relay: list[Rel], bit: int) -> Iterator[tuple[int, list[Edge]]]:
    """Where ``relay``'s relations lead one after the other, with the way as base edges."""
    if not relay:
        yield first, []
        return
    for via, mask in relay[0].rows.get(first, {}).items():
        if mask & bit:
            edges = trace(relay[0], first, via, bit)
            for last, more in _relays(via, relay[1:], bit):
                yield last, edges + more
