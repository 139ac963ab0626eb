"""From an execution that was judged to one that can be shown, with the cycle against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mkold.lkmm.graph.events import Node
from mkold.lkmm.paths.drawing import Broken, Found, draw
from mkold.lkmm.paths.paths import Act
from mkold.lkmm.sat.formula import Formula
from mkold.lkmm.sat.judge import Judge
from mkold.lkmm.sat.questions import State
from mkold.lkmm.sat.relations import Rel, Step
from mkold.lkmm.sat.solver import Model
from mkold.lkmm.verdict import Axiom, Edge, Execution, Wait

# Relations that are part of another, by the name that a picture has for them.
SHOWN = {
    "unlock-po": "po", "unlock-lock": "po", "lock-po": "po", "lock-fence": "mb",
    "rmb-from": "rmb", "rmb-to": "rmb",
}  # fmt: skip


def draw_allowed(
    formula: Formula,
    model: Model,
    judge: Judge,
    final: State,
    race: tuple[int, int] | None = None,
    waits: Sequence[Wait] = (),
) -> Execution:
    """The execution, with two events that race if any do, and who is not done."""
    found = replace(_found(formula, model, judge, final), waits=waits)
    return draw(found, race=race)


def draw_forbidden(
    formula: Formula, model: Model, judge: Judge, final: State
) -> Execution | None:
    """The execution with the cycle that forbids it; None if none does (thin air)."""
    broken = _broken(judge)
    return None if broken is None else draw(_found(formula, model, judge, final), broken)


def _found(formula: Formula, model: Model, judge: Judge, final: State) -> Found:
    candidate = judge.candidate
    nodes = [formula.graph.nodes[n] for n in sorted(candidate.happens)]
    acts = {n.id: _act(n, candidate.happens, candidate.address.get(n.id, -1)) for n in nodes}
    memory = [n for n in nodes if n.id in candidate.address and (n.is_read or n.is_write)]
    words = {candidate.address[n.id] for n in memory}
    causality = judge.causality
    ids = causality.layout.ids
    return Found(
        graph=formula.graph,
        acts=acts,
        values={n.id: model.word(formula.circuit.value(n.value)) for n in memory},
        initial={address: formula.initial(address) for address in words},
        rf=dict(candidate.source),
        orders={address: candidate.order.get(address, ()) for address in words},
        steps=[
            Edge(ids[a], rel.name, ids[b])
            for rel in (causality.rmw, causality.addr, causality.data, causality.ctrl)
            for a, b in rel.pairs()
        ],
        final=final,
    )


def _act(node: Node, happens: frozenset[int], address: int) -> Act:
    rmw = node.rmw if node.rmw in happens else -1
    order = "" if node.conditional and rmw < 0 else node.order
    return Act(node, node.id, node.thread, node.kind, order, address, node.value, rmw,
               node.order != "plain", node.is_read, node.is_write)  # fmt: skip


# -- cycles -------------------------------------------------------------------------------


def _broken(judge: Judge) -> Broken | None:
    """The cycle of the axiom that failed."""
    if judge.broken is not None:
        return _cycle(judge, *judge.broken)
    torn = judge.torn()
    if torn is not None:
        read, between, write = torn
        edges = [Edge(read, "fr", between), Edge(between, "co", write),
                 Edge(write, "rmw^-1", read)]  # fmt: skip
        return Broken(Axiom.ATOMIC, edges, edges)
    if judge.grace is not None and judge.grace.closed is not None:
        return _rcu_cycle(judge)
    if judge.visible is not None and judge.visible.against is not None:
        edge, order = judge.visible.against
        ids = judge.causality.layout.ids
        steps = [Edge(ids[a], rel.name, ids[b]) for rel, a, b in (edge, order)]
        parts = [*_steps(judge, edge), *_steps(judge, order)]
        return Broken(Axiom.PLAIN_COHERENCE, steps, parts)
    return None


def _cycle(judge: Judge, axiom: Axiom, rel: Rel, cycle: list[int]) -> Broken:
    ids, hb = judge.causality.layout.ids, judge.causality.hb
    pairs = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    parts = [step for a, b in pairs for step in _steps(judge, (rel, a, b))]
    if axiom is not Axiom.PROPAGATION:
        return Broken(axiom, parts, parts)
    if all(hb.has(a, b) for a, b in pairs):
        axiom = Axiom.HAPPENS_BEFORE
    names = ["hb" if hb.has(a, b) else "pb" for a, b in pairs]
    edges = [Edge(ids[a], name, ids[b]) for (a, b), name in zip(pairs, names, strict=True)]
    return Broken(axiom, edges, parts)


def _steps(judge: Judge, step: Step) -> Iterator[Edge]:
    """An edge as the base edges that it comes from."""
    ids = judge.causality.layout.ids
    waiting = [step]
    while waiting:
        rel, a, b = waiting.pop()
        facts, parts = rel.why(a, b)
        if parts:
            waiting += reversed(parts)
        elif facts:
            yield Edge(ids[a], SHOWN.get(rel.name, rel.name), ids[b])


def _rcu_cycle(judge: Judge) -> Broken:
    """The chain of sections and grace periods, by their events."""
    grace = judge.grace
    assert grace is not None
    assert grace.closed is not None
    edges: list[Edge] = []
    parts: list[Edge] = []
    for i, j in (*grace.chain(*grace.closed), (grace.closed[1], grace.closed[0])):
        start, stop = grace.sections[i], grace.sections[j]
        edges.append(Edge(start.first, "rcu-link", stop.last))
        ends = grace.ends(start, stop)
        if ends is None:
            parts.append(Edge(start.first, "po", stop.last))
        else:
            a, b = ends
            ids = judge.causality.layout.ids
            if ids[a] != start.first:
                parts.append(Edge(start.first, "po", ids[a]))
            parts += _steps(judge, (grace.path, a, b))
            parts.append(Edge(ids[b], "po", stop.last))
        if not stop.grace:
            back = Edge(stop.last, "rcu-rscs^-1", stop.first)
            edges.append(back)
            parts.append(back)
    return Broken(Axiom.RCU, edges, parts)
