"""Rings of reads that copy one another: whether this engine leaves any out.

herd7 keeps an execution in which words come from nowhere but a ring of copies, and leaves such
a word without a name; here, where a word has 64 bits, the judge forbids it. So it is asked
whether some execution has such a ring and is forbidden for nothing else, and then that is
said. In a ring of marked accesses happens-before goes round, so one access at least is
plain; and then the program has a data race.

Known limit: what a thread does with such a word is not followed.
"""

from __future__ import annotations

from mkold.lkmm.graph.events import Node
from mkold.lkmm.graph.values import Found
from mkold.lkmm.sat.facts import INIT
from mkold.lkmm.sat.search import Search
from mkold.lkmm.sat.solver import FALSE, Lit

Step = tuple[int, Lit, int]  # a read, where it finds a copy, and the read that is copied


def is_left_out(search: Search, *assumed: Lit) -> bool:
    """Whether an execution of ``search`` was left out for a ring of copies alone."""
    steps = list(_steps(search))
    round_about = _on_rings(steps)
    if not any(_is_plain(search, step) for step in steps if step[0] in round_about):
        return False
    steps = [step for step in steps if step[0] in round_about and step[2] in round_about]
    solver = search.solver
    chosen = {read: solver.new() for read in sorted(round_about)}
    query = search.query(chosen.values())
    ways: dict[int, list[Lit]] = {}
    for read, found, copied in steps:
        way = solver.new()
        solver.add([-way, found])
        solver.add([-way, chosen[copied]])
        ways.setdefault(read, []).append(way)
    for read, lit in chosen.items():
        solver.add([-lit, *ways[read]])
    return search.thin_air or search.allowed(*assumed, query) is not None or search.thin_air


def _steps(search: Search) -> list[Step]:
    formula = search.formula
    steps: list[Step] = []
    for read in formula.reads:
        for write, lit in formula.source[read.id].items():
            if write != INIT and lit != FALSE:
                steps += [
                    (read.id, lit, copied) for copied in _copied(formula.graph.nodes[write])
                ]
    return steps


def _copied(write: Node) -> list[int]:
    """What the write may be a copy of; where its value is known, what that came from."""
    if isinstance(write.value, Found):
        return [write.value.read]
    return list(write.data_deps) if isinstance(write.value, int) else []


def _on_rings(steps: list[Step]) -> set[int]:
    """Reads that have a copy to find, and are copied, as often as one leaves others out."""
    while True:
        there = {read for read, _, _ in steps} & {copied for _, _, copied in steps}
        rest = [step for step in steps if step[0] in there and step[2] in there]
        if len(rest) == len(steps):
            return there
        steps = rest


def _is_plain(search: Search, step: Step) -> bool:
    return "plain" in (search.formula.graph.nodes[read].order for read in (step[0], step[2]))
