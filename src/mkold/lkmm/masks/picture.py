"""From masks back to one execution that can be shown, with the cycle that forbids it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, product

from mkold.lkmm.masks.locations import INIT
from mkold.lkmm.model.grace import Grace
from mkold.lkmm.model.model import Model
from mkold.lkmm.model.relations import Rel, base, cyclic, path, trace, union
from mkold.lkmm.naming import Naming
from mkold.lkmm.paths.ordering import Section, is_memory
from mkold.lkmm.paths.question import Answers, word_at
from mkold.lkmm.verdict import Axiom, Cycle, Edge, Event, Execution


class _Drawing:
    """Numbers the events of one execution and its initial writes."""

    def __init__(self, model: Model, answers: Answers, bit: int) -> None:
        self.model, self.answers, self.bit = model, answers, bit
        self.naming = Naming(answers.graph.program.symbols)
        self.events: list[Event] = []
        self.number: dict[int, int] = {}
        self.initial: dict[int, int] = {}
        self._initial()
        self._acts()

    def _place(self, address: int) -> str:
        return self.naming.place(address)

    def _initial(self) -> None:
        for address, location in sorted(self.model.candidates.locations.items()):
            if location.reads or location.writes:
                self.initial[address] = len(self.events)
                self.events.append(
                    Event(len(self.events), -1, len(self.initial) - 1, "IW", "", address,
                          self._place(address), location.initial)
                )  # fmt: skip

    def _acts(self) -> None:
        candidates = self.model.candidates
        for act in sorted(candidates.acts.values(), key=lambda act: (act.thread, act.id)):
            node = act.node
            memory = act.is_read or act.is_write
            value = word_at(candidates.words(act.value), self.bit) if memory else None
            address = act.address if act.address >= 0 else None
            self.number[act.id] = len(self.events)
            self.events.append(
                Event(len(self.events), act.thread, node.po, act.kind, node.order, address,
                      "" if address is None else self._place(address), value,
                      node.what, node.prim, node.at)
            )  # fmt: skip

    def edges(self) -> list[Edge]:
        model, bit, number = self.model, self.bit, self.number
        edges = []
        for read, sources in model.candidates.rf.items():
            for source, mask in sources.items():
                if mask & bit:
                    start = (
                        self.initial[model.acts[read].address]
                        if source == INIT
                        else number[source]
                    )
                    edges.append(Edge(start, "rf", number[read]))
        edges += self._co() + self._fr()
        for rel in (model.rmw, model.addr, model.data, model.ctrl):
            edges += [
                Edge(number[a], rel.name, number[b]) for a, b, mask in rel.pairs() if mask & bit
            ]
        return edges

    def _order(self, address: int) -> list[int]:
        """Writes to ``address`` in coherence order."""
        writes = self.model.candidates.locations[address].writes
        co, bit = self.model.co, self.bit
        return sorted(writes, key=lambda w: -sum(bool(co.get(w, o) & bit) for o in writes))

    def _co(self) -> list[Edge]:
        edges = []
        for address, start in self.initial.items():
            chain = [start, *(self.number[write] for write in self._order(address))]
            edges += [Edge(a, "co", b) for a, b in pairwise(chain)]
        return edges

    def _fr(self) -> list[Edge]:
        edges = []
        for read, row in self.model.fr.rows.items():
            later = [w for w, mask in row.items() if mask & self.bit]
            for write in self._order(self.model.acts[read].address):
                if write in later and self.model.acts[read].rmw != write:
                    edges.append(Edge(self.number[read], "fr", self.number[write]))
                if write in later:
                    break
        return edges

    def execution(
        self, cycle: Cycle | None = None, race: tuple[int, int] | None = None
    ) -> Execution:
        final = self.answers.state_of(self.bit, self.answers.graph.program.observed)
        return Execution(
            tuple(self.answers.graph.thread_names), tuple(self.events),
            tuple(self.edges()), final, cycle, race,
        )  # fmt: skip

    def renumber(self, edges: list[Edge]) -> tuple[Edge, ...]:
        number = self.number
        return tuple(Edge(number[e.source], e.relation, number[e.target]) for e in edges)


def draw_allowed(model: Model, answers: Answers, bit: int, flag: str = "") -> Execution:
    """The execution ``bit``; for ``data-race`` with the racing events."""
    drawing = _Drawing(model, answers, bit)
    race = None
    if flag == "data-race":
        a, b = next((a, b) for a, b, mask in model.races if mask & bit)
        race = drawing.number[a], drawing.number[b]
    return drawing.execution(race=race)


def draw_forbidden(model: Model, answers: Answers, wanted: int) -> Execution | None:
    """An execution that satisfies the formula but breaks an axiom, with the cycle."""
    for axiom, mask, rel in model.broken:
        if mask & wanted:
            bit = (mask & wanted) & -(mask & wanted)
            drawing = _Drawing(model, answers, bit)
            steps, parts = _cycle(model, rel, bit)
            cycle = Cycle(axiom, drawing.renumber(steps), drawing.renumber(parts))
            return drawing.execution(cycle)
    return None


def draw_incoherent(model: Model, answers: Answers, wanted: int) -> Execution | None:
    """An execution that satisfies the formula, but is not even coherent or atomic."""
    po_loc = base("po-loc", _po_loc(model), model.candidates.rows)
    rf = union("rf", model.rfe, model.rfi)
    together = union("coherence", po_loc, rf, model.co, model.fr)
    for bit in _low_bits(wanted):
        drawing = _Drawing(model, answers, bit)
        if cyclic(together) & bit:
            steps = [
                Edge(e.source, e.relation, e.target) for e in _cycle(model, together, bit)[1]
            ]
            edges = drawing.renumber(steps)
            return drawing.execution(Cycle(Axiom.COHERENCE, edges, edges))
        edges = drawing.renumber(_torn(model, bit))
        if edges:
            return drawing.execution(Cycle(Axiom.ATOMIC, edges, edges))
    return None


def _low_bits(mask: int) -> Iterator[int]:
    for _ in range(64):
        if not mask:
            return
        yield mask & -mask
        mask &= mask - 1


def _po_loc(model: Model) -> Iterator[tuple[int, int]]:
    for ordering in model.orderings:
        for acts in ordering.threads.values():
            accesses = [act for act in acts if act.is_read or act.is_write]
            for a, b in combinations(accesses, 2):
                if a.address == b.address:
                    yield a.id, b.id


def _torn(model: Model, bit: int) -> list[Edge]:
    """A read-modify-write with another thread's write between its halves."""
    for read, write, _ in model.rmw.pairs():
        for between, mask in model.fr.rows.get(read, {}).items():
            if mask & model.co.get(between, write) & bit:
                return [Edge(read, "fr", between), Edge(between, "co", write),
                        Edge(write, "rmw^-1", read)]  # fmt: skip
    return []


def _cycle(model: Model, rel: Rel, bit: int) -> tuple[list[Edge], list[Edge]]:
    """A shortest cycle of ``rel``: its own edges, and those traced to the base."""
    if model.grace is not None and rel is model.grace.order:
        return _grace_cycle(model.grace, bit)
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
        relay = [rel for rel, used in zip((grace.reach, grace.model.prop), ahead, strict=True)
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
