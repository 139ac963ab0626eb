"""The question put to a program, over the masks of one set of candidates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mkold.ir.formula import Side, fold
from mkold.ir.nodes import evaluate_binary
from mkold.ir.program import Formula, Mem, Observed
from mkold.lkmm.graph.events import INIT, Graph
from mkold.lkmm.graph.values import Constraint
from mkold.lkmm.masks.candidates import Candidates, Words
from mkold.lkmm.paths.paths import Path
from mkold.lkmm.paths.question import register_value


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

    def satisfying(self, formula: Formula) -> int:
        """Candidates that satisfy ``formula``."""
        return fold(formula, self)

    # -- as an algebra of formulas ------------------------------------------------

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

    # -- of one candidate ---------------------------------------------------------

    def state_of(self, bit: int, observed: Sequence[Observed]) -> tuple[int, ...]:
        """The valuation in one candidate."""
        return tuple(word_at(self.words(place), bit) for place in observed)


class Allowed:
    """The candidates that the model allows, as flags ask of them: parts are masks."""

    def __init__(self, candidates: Candidates, rows: int) -> None:
        self.candidates, self.rows = candidates, rows

    def every(self) -> int:
        return self.rows

    def where(self, constraint: Constraint) -> int:
        return self.rows & self.candidates.where(constraint)

    def finding(self, word: int) -> Iterator[tuple[int, int]]:
        for read, words in self.candidates.reads.items():
            mask = words.get(word, 0) & self.rows
            if mask:
                initial = self.candidates.rf.get(read, {}).get(INIT, 0)
                yield mask & initial, mask & ~initial

    def overwriting(self, write: int, source: int) -> int:
        co = self.candidates.co
        right = self.rows if source == INIT else self.rows & co.get(source, {}).get(write, 0)
        for between, later in co.items():
            if between != source and write in later:
                before = self.rows if source == INIT else co.get(source, {}).get(between, 0)
                right &= ~(before & later[write])
        return right


def word_at(words: Mapping[int, int], bit: int) -> int:
    """The word in the candidate ``bit``."""
    return next((word for word, mask in words.items() if mask & bit), 0)
