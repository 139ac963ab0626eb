"""All candidate executions of one choice of paths, as masks.

Per location the coherence orders are listed, and for each the ways its reads can find
their writes. "Sequential consistency per variable" and the atomicity of read-modify-writes
are built in, location by location:

* the place of an event in coherence order (for a read: the place of the write it finds)
  never falls along program order, and rises at each write: this is ``coherence``;
* a read-modify-write's read finds the write just before its own write: ``atomic``.

Candidates are the product over locations. A choice (which coherence order, which sources
for a thread's reads) is a digit of the candidate's number; the mask of "digit d is j"
is a run of ones tiled over all numbers. Writes know their value only once reads do, so
values come as ``{word: mask}``, by fixpoint. Values that only justify themselves ("out of
thin air") are ``UNKNOWN`` where reads copy one another in a ring, as in herd, which leaves
such a value unnamed; where anything is computed from them the candidate drops out.

Sources: linux-kernel.cat (coherence, atomic), lock.cat (what a lock's read may find).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from mkold.base.errors import LimitError
from mkold.ir.nodes import evaluate_binary, evaluate_unary
from mkold.ir.program import UNKNOWN
from mkold.lkmm.paths import Act, single_read
from mkold.lkmm.symbolic import Value, evaluate
from mkold.lkmm.bits import Numbering, compress_all

INIT = -1  # source of a read that finds the initial word
MAX_CANDIDATES = 1 << 26
MAX_ORDERS = 50_000
Words = dict[int, int]  # word -> mask
Constraint = tuple[Value, int | None]


class Location:
    """The accesses to one word: its coherence orders and sources of reads."""

    __slots__ = ("address", "orders", "threads", "choices", "initial", "writes", "reads")

    def __init__(self, address: int, initial: int, acts: Sequence[Act]) -> None:
        self.address, self.initial = address, initial
        self.writes = {act.id: act for act in acts if act.is_write}
        self.reads = [act for act in acts if act.is_read]
        self.threads: dict[int, list[Act]] = {}
        for act in acts:
            self.threads.setdefault(act.thread, []).append(act)
        self.orders: list[tuple[int, ...]] = []
        # per thread: its vectors of sources, and for each order which are possible
        self.choices: dict[int, tuple[list[tuple[int, ...]], list[set[int]]]] = {}


class Candidates:
    """Masks of every candidate execution of ``acts``.

    ``rows``: the candidates that stand; ``rf[r]``: source -> mask; ``co``, ``fr``: rows of
    masks. ``fixed`` asks for final words of memory, to list less.
    """

    def __init__(
        self,
        acts: Sequence[Act],
        constraints: Sequence[Constraint],
        initial: Mapping[int, int],
        final_wanted: Mapping[int, int],
    ) -> None:
        self.acts = {act.id: act for act in acts}
        self.rows = 0
        self.n = 0
        self._unary: dict[int, list[Constraint]] = {}
        musts: list[Constraint] = [
            (act.value, act.node.must) for act in acts if act.node.must is not None
        ]
        self._constraints = [*constraints, *musts]
        for value, wanted in self._constraints:
            read = single_read(value)
            if read is not None:
                self._unary.setdefault(read, []).append((value, wanted))
        self.locations: dict[int, Location] = {}
        by_address: dict[int, list[Act]] = {address: [] for address in initial}
        for act in acts:
            if act.is_read or act.is_write:
                by_address.setdefault(act.address, []).append(act)
        for address, accesses in by_address.items():
            self.locations[address] = Location(address, initial.get(address, 0), accesses)
        self._final_wanted = final_wanted
        self.rf: dict[int, dict[int, int]] = {}
        self.co: dict[int, dict[int, int]] = {}
        self.last: dict[int, dict[int, int]] = {}
        self.reads: dict[int, Words] = {}
        self.dead = not self._list() or not self._number()

    # -- listing ------------------------------------------------------------------

    def _allowed(self, read: int, source: int, location: Location) -> bool:
        """Whether known constraints let ``read`` find ``source``."""
        unary = self._unary.get(read)
        if unary is None:
            return True
        word = location.initial if source == INIT else location.writes[source].value
        if type(word) is not int:
            return True
        for value, wanted in unary:
            got = evaluate(value, lambda _: word)
            if (got == 0) if wanted is None else (got != wanted):
                return False
        return True

    def _list(self) -> bool:
        for location in self.locations.values():
            if not location.writes and not location.reads:
                location.orders = [()]
                continue
            self._list_orders(location)
            if not location.orders:
                return False
            if any(act.rmw < 0 for act in location.reads):
                self._list_sources(location)
                if not location.orders:
                    return False
        return True

    def _list_orders(self, location: Location) -> None:
        """Linear extensions of program order, with each read-modify-write satisfied."""
        queues = [
            [act for act in acts if act.is_write] for acts in location.threads.values()
        ]
        queues = [queue for queue in queues if queue]
        wanted = self._final_wanted.get(location.address)
        n = sum(map(len, queues))
        order: list[int] = []
        heads = [0] * len(queues)

        def extend() -> None:
            if len(order) == n:
                if wanted is not None:
                    word = location.writes[order[-1]].value if order else location.initial
                    if type(word) is int and word != wanted:
                        return
                location.orders.append(tuple(order))
                if len(location.orders) > MAX_ORDERS:
                    raise LimitError(f"more than {MAX_ORDERS} coherence orders")
                return
            for number, queue in enumerate(queues):
                head = heads[number]
                if head < len(queue):
                    act = queue[head]
                    if act.rmw >= 0 and not self._allowed(
                        act.rmw, order[-1] if order else INIT, location
                    ):
                        continue
                    heads[number] += 1
                    order.append(act.id)
                    extend()
                    order.pop()
                    heads[number] -= 1

        extend()

    def _list_sources(self, location: Location) -> None:
        kept: list[tuple[int, ...]] = []
        per_order: list[dict[int, list[tuple[int, ...]]]] = []
        readers = [
            thread
            for thread, acts in location.threads.items()
            if any(act.is_read and act.rmw < 0 for act in acts)
        ]
        for order in location.orders:
            place = {write: index + 1 for index, write in enumerate(order)}
            found = {}
            for thread in readers:
                vectors = self._vectors(location, location.threads[thread], order, place)
                if not vectors:
                    break
                found[thread] = vectors
            else:
                kept.append(order)
                per_order.append(found)
        location.orders = kept
        for thread in readers:
            index: dict[tuple[int, ...], int] = {}
            sets = [
                {index.setdefault(vector, len(index)) for vector in found[thread]}
                for found in per_order
            ]
            location.choices[thread] = list(index), sets

    def _vectors(
        self,
        location: Location,
        acts: list[Act],
        order: tuple[int, ...],
        place: dict[int, int],
    ) -> list[tuple[int, ...]]:
        """Sources for the plain reads of one thread, in program order."""
        ceiling: list[int] = []
        high = len(order)
        for act in reversed(acts):
            if act.is_write:
                high = place[act.id] - 1
            ceiling.append(high)
        ceiling.reverse()
        vectors: list[tuple[int, ...]] = []

        def extend(index: int, low: int, chosen: tuple[int, ...]) -> None:
            while index < len(acts) and (acts[index].is_write or acts[index].rmw >= 0):
                act = acts[index]
                at = place[act.id] if act.is_write else place[act.rmw] - 1
                if at < low:
                    return
                low = at
                index += 1
            if index == len(acts):
                vectors.append(chosen)
                return
            read = acts[index].id
            for at in range(low, ceiling[index] + 1):
                source = order[at - 1] if at else INIT
                if self._allowed(read, source, location):
                    extend(index + 1, at, (*chosen, source))

        extend(0, 0, ())
        return vectors

    # -- numbering ----------------------------------------------------------------

    def _number(self) -> bool:
        numbering = Numbering()
        digits: list[tuple[Location, int, list[tuple[int, list[Act]]]]] = []
        for location in self.locations.values():
            co_digit = numbering.digit(len(location.orders))
            readers = []
            for thread, (vectors, _) in location.choices.items():
                plain = [
                    act for act in location.threads[thread] if act.is_read and act.rmw < 0
                ]
                readers.append((numbering.digit(len(vectors)), plain))
            digits.append((location, co_digit, readers))
        if numbering.total > MAX_CANDIDATES:
            raise LimitError(f"more than {MAX_CANDIDATES} candidate executions at once")
        self.n = numbering.total
        rows = numbering.full
        for location, co_digit, readers in digits:
            rows &= self._masks(numbering, location, co_digit, readers)
        self._compress(rows)
        self._solve_values()
        rows = self.rows
        for value, wanted in self._constraints:
            rows &= self.where(value, wanted)
            if not rows:
                return False
        if rows != self.rows:
            self._compress(rows)
        return bool(self.rows)

    def _masks(
        self,
        numbering: Numbering,
        location: Location,
        co_digit: int,
        readers: list[tuple[int, list[Act]]],
    ) -> int:
        """Fill ``rf``, ``co``, ``last`` for one location; the mask of what stands."""
        orders = location.orders
        order_masks = [numbering.mask(co_digit, j) for j in range(len(orders))]
        last: dict[int, int] = {}
        for order, mask in zip(orders, order_masks, strict=True):
            previous = INIT
            for index, write in enumerate(order):
                row = self.co.setdefault(write, {})
                for later in order[index + 1 :]:
                    row[later] = row.get(later, 0) | mask
                rmw = location.writes[write].rmw
                if rmw >= 0:
                    sources = self.rf.setdefault(rmw, {})
                    sources[previous] = sources.get(previous, 0) | mask
                previous = write
            last[previous] = last.get(previous, 0) | mask
        self.last[location.address] = last
        if not readers:
            return numbering.full
        stands = list(order_masks)
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
        waiting: list[tuple[int, list[tuple[Value, int]]]] = []
        for read, sources in self.rf.items():
            location = self.locations[self.acts[read].address]
            words: Words = {}
            computed = []
            for source, mask in sources.items():
                value = location.initial if source == INIT else self.acts[source].value
                if type(value) is int:
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

    def _from_thin_air(self, waiting: dict[int, list[tuple[Value, int]]]) -> None:
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
                    if value[0] == "r":
                        copied |= mask & unknown.get(value[1], 0)
                if unknown[read] & ~copied:
                    unknown[read] &= copied
                    changed = True
        for read, mask in unknown.items():
            if mask:
                self.reads[read][UNKNOWN] = mask
            self.rows &= ~(unsettled[read] & ~mask)

    def words(self, value: Value) -> Words:
        """The words that ``value`` is, each with the candidates in which it is."""
        if type(value) is int:
            return {value: self.rows}
        tag = value[0]
        if tag == "r":
            return self.reads.get(value[1], {})
        if tag == "u":
            parts = (
                (evaluate_unary(value[1], a), m)
                for a, m in self.words(value[2]).items()
                if a != UNKNOWN
            )
        elif tag == "b":
            left, right = self.words(value[2]), self.words(value[3])
            parts = (
                (evaluate_binary(value[1], a, b), m & k)
                for (a, m), (b, k) in product(left.items(), right.items())
                if a != UNKNOWN and b != UNKNOWN
            )
        else:
            yes, no = self.where(value[1], None), self.where(value[1], 0)
            parts = (
                (a, m & side)
                for side, branch in ((yes, value[2]), (no, value[3]))
                for a, m in self.words(branch).items()
            )
        result: Words = {}
        for word, mask in parts:
            if mask:
                result[word] = result.get(word, 0) | mask
        return result

    def where(self, value: Value, wanted: int | None) -> int:
        """Candidates in which ``value`` is ``wanted`` (``None``: anything but 0)."""
        words = self.words(value)
        if wanted is not None:
            return words.get(wanted, 0)
        mask = 0
        for word, m in words.items():
            if word and word != UNKNOWN:
                mask |= m
        return mask

    def final(self, address: int) -> Words:
        """The last word at ``address``."""
        location = self.locations.get(address)
        if location is None or not location.writes:
            return {location.initial if location else 0: self.rows}
        result: Words = {}
        for write, mask in self.last[address].items():
            value = location.initial if write == INIT else self.acts[write].value
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
