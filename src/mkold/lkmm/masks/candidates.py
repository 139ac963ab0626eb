"""All candidate executions of one choice of paths, as masks.

``locations`` lists, word by word, coherence orders and sources of reads; candidates are
their product. A choice (which coherence order, which sources
for a thread's reads) is a digit of the candidate's number; the mask of "digit d is j"
is a run of ones tiled over all numbers. Writes know their value only once reads do, so
values come as ``{word: mask}``, by fixpoint. Values that only justify themselves ("out of
thin air") are ``UNKNOWN`` where reads copy one another in a ring, as in herd, which leaves
such a value unnamed; where anything is computed from them the candidate drops out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product

from mkold.ir.nodes import evaluate_binary, evaluate_unary
from mkold.ir.program import UNKNOWN
from mkold.lkmm.graph.guards import Guard
from mkold.lkmm.graph.values import Constraint, Found, Node, Value, fold
from mkold.lkmm.masks.cohere import OrderTable
from mkold.lkmm.masks.locations import INIT, Location
from mkold.lkmm.masks.numbering import Numbering, compress_all
from mkold.lkmm.paths.paths import Act

Words = dict[int, int]  # word -> mask


class Candidates:
    """Masks of every candidate execution that ``locations`` make.

    ``rows``: the candidates that stand; ``rf[r]``: source -> mask; ``co``: rows of masks;
    ``last[address]``: last write -> mask; ``reads[r]``: word -> mask.
    """

    def __init__(
        self,
        acts: Mapping[int, Act],
        locations: Sequence[Location],
        constraints: Sequence[Constraint],
    ) -> None:
        self.acts = acts
        self.locations = {location.address: location for location in locations}
        self._constraints = constraints
        self.rows = 0
        self.n = 0
        self.rf: dict[int, dict[int, int]] = {}
        self.co: dict[int, dict[int, int]] = {}
        self.last: dict[int, dict[int, int]] = {}
        self.reads: dict[int, Words] = {}
        self._number()

    # -- numbering ----------------------------------------------------------------

    def _number(self) -> None:
        numbering = Numbering()
        digits: list[tuple[Location, int, list[tuple[int, list[Act]]]]] = []
        for location in self.locations.values():
            co_digit = numbering.digit(len(location.orders))
            readers = []
            for thread, (vectors, _) in location.choices.items():
                readers.append((numbering.digit(len(vectors)), location.plain_reads(thread)))
            digits.append((location, co_digit, readers))
        self.n = numbering.total
        rows = numbering.full
        for location, co_digit, readers in digits:
            rows &= self._masks(numbering, location, co_digit, readers)
        self._compress(rows)
        self._solve_values()
        rows = self.rows
        for value, wanted in self._constraints:
            rows &= self.where(value, wanted)
        if rows != self.rows:
            self._compress(rows)

    def _masks(
        self,
        numbering: Numbering,
        location: Location,
        co_digit: int,
        readers: list[tuple[int, list[Act]]],
    ) -> int:
        """Fill ``rf``, ``co``, ``last`` for one location; the mask of what stands."""
        orders = location.orders
        table = OrderTable(orders, tuple(location.writes))
        spread = partial(numbering.spread, co_digit)
        for write, later, numbers in table.pairs():
            self.co.setdefault(write, {})[later] = spread(numbers)
        for write, act in location.writes.items():
            if act.rmw >= 0 and not location.free:
                self.rf[act.rmw] = {
                    source: spread(numbers) for source, numbers in table.before(write)
                }
        last = {write: spread(numbers) for write, numbers in table.last()}
        self.last[location.address] = last
        if not readers:
            return numbering.full
        stands = [numbering.mask(co_digit, j) for j in range(len(orders))]
        for (digit, plain), (vectors, sets) in zip(
            readers, location.choices.values(), strict=True
        ):
            masks = [numbering.mask(digit, j) for j in range(len(vectors))]
            for vector, mask in zip(vectors, masks, strict=True):
                for act, source in zip(plain, vector, strict=True):
                    sources = self.rf.setdefault(act.id, {})
                    sources[source] = sources.get(source, 0) | mask
            for j, possible in enumerate(sets):
                if len(possible) < len(vectors):
                    allowed = 0
                    for k in possible:
                        allowed |= masks[k]
                    stands[j] &= allowed
        whole = 0
        for mask in stands:
            whole |= mask
        return whole

    def _compress(self, rows: int) -> None:
        """Keep only candidates in ``rows``, renumbering where that pays."""
        tables = [self.rf, self.co, self.last]
        if self.n >= 256 and rows.bit_count() * 4 < self.n:
            self.n = compress_all(rows, self.n, [*tables, self.reads])
            self.rows = (1 << self.n) - 1
            return
        self.rows = rows
        for table in tables:
            for row in table.values():
                for key in list(row):
                    mask = row[key] & rows
                    if mask:
                        row[key] = mask
                    else:
                        del row[key]

    # -- values -------------------------------------------------------------------

    def _solve_values(self) -> None:
        """Words that reads find; a candidate whose values never settle is dropped."""
        waiting: list[tuple[int, list[tuple[Node, int]]]] = []
        for read, sources in self.rf.items():
            location = self.locations[self.acts[read].address]
            words: Words = {}
            computed = []
            for source, mask in sources.items():
                value = location.word(source)
                if isinstance(value, int):
                    words[value] = words.get(value, 0) | mask
                else:
                    computed.append((value, mask))
            self.reads[read] = words
            if computed:
                waiting.append((read, computed))
        changed = bool(waiting)
        while changed:
            changed = False
            for read, computed in waiting:
                words = self.reads[read]
                for value, mask in computed:
                    for word, where in self.words(value).items():
                        here, known = where & mask, words.get(word, 0)
                        if here & ~known:
                            words[word] = known | here
                            changed = True
        if waiting:
            self._from_thin_air(dict(waiting))

    def _from_thin_air(self, waiting: dict[int, list[tuple[Node, int]]]) -> None:
        """Reads that copy one another in a ring find ``UNKNOWN``; other riddles drop out."""
        unsettled: dict[int, int] = {}
        for read in waiting:
            settled = 0
            for mask in self.reads[read].values():
                settled |= mask
            unsettled[read] = self.rows & ~settled
        unknown = dict(unsettled)
        changed = any(unknown.values())
        while changed:
            changed = False
            for read, computed in waiting.items():
                copied = 0
                for value, mask in computed:
                    if type(value) is Found:
                        copied |= mask & unknown.get(value.read, 0)
                if unknown[read] & ~copied:
                    unknown[read] &= copied
                    changed = True
        for read, mask in unknown.items():
            if mask:
                self.reads[read][UNKNOWN] = mask
            self.rows &= ~(unsettled[read] & ~mask)

    def words(self, value: Value) -> Words:
        """The words that ``value`` is, each with the candidates in which it is."""
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

    def where(self, value: Value, wanted: int | None) -> int:
        """Candidates in which ``value`` is ``wanted`` (``None``: anything but 0)."""
        words = self.words(value)
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
