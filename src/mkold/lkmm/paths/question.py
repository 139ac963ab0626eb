"""The question put to a program: its condition, filter and final states, over masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mkold.ir.nodes import evaluate_binary
from mkold.ir.program import And, Compare, Formula, Mem, Not, Observed, Or, Program, Reg
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.graph.values import Value, resolve
from mkold.lkmm.masks.candidates import Candidates, Words
from mkold.lkmm.masks.locations import Constraint
from mkold.lkmm.paths.paths import Path


def addresses(program: Program) -> Iterator[int]:
    """Words of memory that the question speaks of."""
    formulas = [] if program.condition is None else [program.condition.formula]
    if program.filter is not None:
        formulas.append(program.filter)
    places: list[Observed] = list(program.observed)
    for formula in formulas:
        places += _places(formula)
    for place in places:
        if isinstance(place, Mem):
            yield place.address


def _places(formula: Formula) -> Iterator[Observed]:
    match formula:
        case Compare(_, left, right):
            yield from (side for side in (left, right) if not isinstance(side, int))
        case Not(a):
            yield from _places(a)
        case And(parts) | Or(parts):
            for part in parts:
                yield from _places(part)


def required(formula: Formula) -> Iterator[tuple[Observed, int]]:
    """``place == word`` facts that the formula implies."""
    match formula:
        case And(parts):
            for part in parts:
                yield from required(part)
        case Compare("eq", left, int(right)) if not isinstance(left, int):
            yield left, right
        case Compare("eq", int(left), right) if not isinstance(right, int):
            yield right, left
        case _:
            pass


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
                if type(value) is not int:
                    result.append((value, word))
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
        rows = self.candidates.rows
        match formula:
            case Compare(op, left, right):
                return self._compare(op, left, right)
            case Not(a):
                return rows & ~self.where(a)
            case And(parts):
                for part in parts:
                    rows &= self.where(part)
                return rows
            case Or(parts):
                some = 0
                for part in parts:
                    some |= self.where(part)
                return some

    def _compare(self, op: str, left: Observed | int, right: Observed | int) -> int:
        rows = self.candidates.rows
        a = {left: rows} if isinstance(left, int) else self.words(left)
        b = {right: rows} if isinstance(right, int) else self.words(right)
        found = 0
        for x, mask in a.items():
            for y, other in b.items():
                if evaluate_binary(op, x, y):
                    found |= mask & other
        return found

    def state_of(self, bit: int, observed: Sequence[Observed]) -> tuple[int, ...]:
        """The valuation in one candidate."""
        return tuple(word_at(self.words(place), bit) for place in observed)


def word_at(words: Mapping[int, int], bit: int) -> int:
    """The word in the candidate ``bit``."""
    return next((word for word, mask in words.items() if mask & bit), 0)
