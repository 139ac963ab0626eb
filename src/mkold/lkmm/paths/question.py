"""The question put to a program: its condition, filter and final states, over masks."""

from __future__ import annotations

from collections.abc import Iterator

from mkold.ir.formula import observed_in, required
from mkold.ir.program import Formula, Mem, Observed, Program, Reg
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.graph.values import Constraint, Value, resolve
from mkold.lkmm.paths.paths import Path


def addresses(program: Program) -> Iterator[int]:
    """Words of memory that the question speaks of."""
    formulas = [] if program.condition is None else [program.condition.formula]
    if program.filter is not None:
        formulas.append(program.filter)
    places: list[Observed] = list(program.observed)
    for formula in formulas:
        places += observed_in(formula)
    for place in places:
        if isinstance(place, Mem):
            yield place.address


class Narrowing:
    """What formulas ask of single registers and words, to list fewer candidates."""

    def __init__(self, graph: Graph, *formulas: Formula | None) -> None:
        self.graph = graph
        facts = [
            fact for formula in formulas if formula is not None for fact in required(formula)
        ]
        self.registers = [(p, word) for p, word in facts if isinstance(p, Reg)]
        self.memory = {p.address: word for p, word in facts if isinstance(p, Mem)}

    def constraints(self, path: Path) -> list[Constraint] | None:
        """Constraints on this path's reads; ``None``: the path can't satisfy them."""
        result: list[Constraint] = []
        for register, word in self.registers:
            if register.thread == path.unit:
                value = register_value(self.graph, register, path)
                if not isinstance(value, int):
                    result.append(Constraint(value, word))
                elif value != word:
                    return None
        return result


def register_value(graph: Graph, register: Reg, path: Path) -> Value:
    """The last value of a local on a path; 0 if it never got one."""
    return resolve(graph.finals[register.thread].get(register.local, 0), path.decided)
