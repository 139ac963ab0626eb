"""All candidate executions of one choice of paths, as masks.

Writes know their value only once reads do, so values come as ``{word: mask}``: the words
that a value is, each with the candidates in which it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from mkold.ir.nodes import evaluate_binary, evaluate_unary
from mkold.ir.program import UNKNOWN
from mkold.lkmm.graph.events import INIT
from mkold.lkmm.graph.guards import Guard
from mkold.lkmm.graph.values import Constraint, Found, Value, fold
from mkold.lkmm.masks.locations import Location
from mkold.lkmm.model.relations import Rows
from mkold.lkmm.paths.paths import Act

Words = dict[int, int]  # word -> mask


class Candidates:
    """Masks over the candidates that ``locations`` make; filled in by ``listing``.

    ``n``: how many numbers there are; ``rows``: those of candidates that stand.
    ``rf[r]``: source -> mask; ``co``: rows of masks; ``last[address]``: last write -> mask;
    ``reads[r]``: word -> mask.
    """

    def __init__(self, acts: Mapping[int, Act], locations: Sequence[Location]) -> None:
        self.acts = acts
        self.locations = {location.address: location for location in locations}
        self.rows = self.n = 0
        self.rf: Rows = {}
        self.co: Rows = {}
        self.last: Rows = {}
        self.reads: dict[int, Words] = {}

    def words(self, value: Value) -> Words:
        """The words that ``value`` is, each with the candidates in which it is."""
        if isinstance(value, int):
            return {value: self.rows}
        if type(value) is Found:
            return self.reads.get(value.read, {})
        return fold(value, self, {})

    def word(self, word: int) -> Words:
        return {word: self.rows}

    def found(self, read: int) -> Words:
        return self.reads.get(read, {})

    def applied(self, op: str, a: Words) -> Words:
        return _gathered((evaluate_unary(op, x), m) for x, m in a.items() if x != UNKNOWN)

    def combined(self, op: str, a: Words, b: Words) -> Words:
        return _gathered(
            (evaluate_binary(op, x, y), m & k)
            for (x, m), (y, k) in product(a.items(), b.items())
            if x != UNKNOWN and y != UNKNOWN
        )

    def chosen(self, cond: Words, a: Words, b: Words) -> Words:
        sides = (_not_zero(cond), a), (cond.get(0, 0), b)
        return _gathered((x, m & side) for side, words in sides for x, m in words.items())

    def met(self, guard: Guard, a: Words, b: Words) -> Words:
        raise AssertionError(f"branches meet in a resolved value, under {guard}")

    def where(self, constraint: Constraint) -> int:
        """Candidates that meet ``constraint``."""
        words, wanted = self.words(constraint.value), constraint.wanted
        return _not_zero(words) if wanted is None else words.get(wanted, 0)

    def final(self, address: int) -> Words:
        """The last word at ``address``."""
        location = self.locations.get(address)
        if location is None or not location.writes:
            return {location.initial if location else 0: self.rows}
        result: Words = {}
        for write, mask in self.last[address].items():
            value = location.word(write)
            for word, where in self.words(value).items():
                if where & mask:
                    result[word] = result.get(word, 0) | (where & mask)
        return result

    def fr(self) -> dict[int, dict[int, int]]:
        """Read to every later write: the inverse of rf, then co."""
        result: dict[int, dict[int, int]] = {}
        for read, sources in self.rf.items():
            row: dict[int, int] = {}
            for source, mask in sources.items():
                if source == INIT:
                    writes = self.locations[self.acts[read].address].writes
                    later = dict.fromkeys(writes, mask)
                else:
                    later = self.co.get(source, {})
                for write, where in later.items():
                    both = where & mask
                    if both:
                        row[write] = row.get(write, 0) | both
            if row:
                result[read] = row
        return result


def _gathered(parts: Iterable[tuple[int, int]]) -> Words:
    result: Words = {}
    for word, mask in parts:
        if mask:
            result[word] = result.get(word, 0) | mask
    return result


def _not_zero(words: Words) -> int:
    mask = 0
    for word, where in words.items():
        if word and word != UNKNOWN:
            mask |= where
    return mask
