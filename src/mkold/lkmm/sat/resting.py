"""Who stands where in an execution at rest, and who could have let them go on."""

from __future__ import annotations

from collections.abc import Iterator

from mkold.lkmm.sat.formula import Formula
from mkold.lkmm.sat.modes import Modes
from mkold.lkmm.sat.search import Allowed
from mkold.lkmm.sat.waiting import Stand
from mkold.lkmm.verdict import Missed, Wait


def waits(formula: Formula, modes: Modes, found: Allowed) -> tuple[Wait, ...]:
    """For each thread that is not done, what it waits for; events by the graph's numbers."""
    return tuple(_waits(formula, modes, found))


def _waits(formula: Formula, modes: Modes, found: Allowed) -> Iterator[Wait]:
    candidate = found.judge.candidate
    for stand, lit in modes.stand_lits:
        if found.model.holds(lit):
            nodes = tuple(n for n in stand.nodes if n in candidate.happens)
            address = None
            if stand.kind == "grace" and stand.srcu is not None:
                address = found.model.word(formula.circuit.value(stand.srcu))
            yield Wait(stand.thread, stand.kind, nodes, stand.at, stand.prim, address,
                       tuple(_missed(formula, stand, nodes, found)))  # fmt: skip
    for cut, lit in modes.cut_lits:
        if found.model.holds(lit):
            rings = [n for guard, n in cut.rings
                     if found.model.holds(formula.circuit.guard(guard))]  # fmt: skip
            if rings:
                nodes = tuple(n for n in rings[-1] if n in candidate.happens)
                yield Wait(cut.thread, "loop", nodes, cut.at)


def _missed(
    formula: Formula, stand: Stand, looks: tuple[int, ...], found: Allowed
) -> Iterator[Missed]:
    """Writes of others to what is looked at, which did not come to happen."""
    candidate, nodes = found.judge.candidate, formula.graph.nodes
    words = {candidate.address[n] for n in looks if n in candidate.address}
    came = {(nodes[n].thread, nodes[n].at) for n in candidate.happens}
    seen: set[object] = set()
    for node in nodes:
        place = node.thread, node.at
        if node.is_write and node.thread != stand.thread and place not in {*came, *seen}:
            for address in sorted(words & formula.at.get(node.id, {}).keys()):
                seen.add(place)
                yield Missed(node.thread, address, node.at)
