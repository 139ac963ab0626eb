"""The question put to a program: its condition, filter and final states, over masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mkold.ir.formula import Side, fold, observed_in, required
from mkold.ir.nodes import evaluate_binary
from mkold.ir.program import Formula, Mem, Observed, Program, Reg
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.graph.values import Constraint, Value, resolve
from mkold.lkmm.masks.candidates import Candidates, Words
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


class Answers:
    """The question over one set of candidates, whose units took ``paths``."""

    def __init__(self, graph: Graph, paths: Sequence[Path], candidates: Candidates) -> None:
        self.graph = graph
        self.paths = paths
        self.candidates = candidates
        self._memo: dict[Observed, Words] = {}

    def words(self, place: Observed) -> Words:
        """The words at ``place`` at the end, with the candidates of each."""
        known = self._memo.get(place)
        if known is None:
            if isinstance(place, Mem):
                known = self.candidates.final(place.address)
            else:
                value = register_value(self.graph, place, self.paths[place.thread])
                known = self.candidates.words(value)
            self._memo[place] = known
        return known

    def where(self, formula: Formula) -> int:
        """Candidates that satisfy ``formula``."""
        return fold(formula, self)

    def compare(self, op: str, left: Side, right: Side) -> int:
        """Candidates in which a comparison holds."""
        rows = self.candidates.rows
        a = {left: rows} if isinstance(left, int) else self.words(left)
        b = {right: rows} if isinstance(right, int) else self.words(right)
        found = 0
        for x, mask in a.items():
            for y, other in b.items():
                if evaluate_binary(op, x, y):
                    found |= mask & other
        return found

    def negation(self, a: int) -> int:
        return self.candidates.rows & ~a

    def all_of(self, parts: Iterable[int]) -> int:
        rows = self.candidates.rows
        for part in parts:
            rows &= part
        return rows

    def any_of(self, parts: Iterable[int]) -> int:
        some = 0
        for part in parts:
            some |= part
        return some

    def state_of(self, bit: int, observed: Sequence[Observed]) -> tuple[int, ...]:
        """The valuation in one candidate."""
        return tuple(word_at(self.words(place), bit) for place in observed)


def word_at(words: Mapping[int, int], bit: int) -> int:
    """The word in the candidate ``bit``."""
    return next((word for word, mask in words.items() if mask & bit), 0)
