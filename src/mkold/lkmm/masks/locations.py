"""One word of memory: its coherence orders, and where its reads can find their values.

"Sequential consistency per variable" and the atomicity of read-modify-writes are built in:

* the place of an event in coherence order (for a read: the place of the write it finds)
  never falls along program order, and rises at each write: this is ``coherence``;
* a read-modify-write's read finds the write just before its own write: ``atomic``.

A spinlock needs no more: a lock's read must find it unlocked, and its write comes next.

Sources: linux-kernel.cat (coherence, atomic), lock.cat (what a lock's read may find).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import permutations, product

from mkold.base.errors import LimitError
from mkold.lkmm.graph.events import INIT
from mkold.lkmm.graph.values import Value
from mkold.lkmm.paths.facts import Facts
from mkold.lkmm.paths.paths import Act
from mkold.lkmm.paths.unordered import NONE, Pair, linear

MAX_ORDERS = 500_000
MAX_VARIANTS = 5_000
Vector = tuple[int, ...]


class Location:
    """The accesses to one word.

    ``orders``: coherence orders. ``choices``: for each thread that reads, its vectors of
    sources (its reads in program order, but for those of read-modify-writes), and for each
    coherence order the numbers of the vectors that go with it. ``apart``: pairs of accesses
    in no program order.
    """

    __slots__ = (
        "address",
        "apart",
        "choices",
        "free",
        "initial",
        "orders",
        "reads",
        "threads",
        "writes",
    )

    def __init__(
        self, address: int, initial: int, acts: Sequence[Act], apart: frozenset[Pair] = NONE
    ) -> None:
        self.address, self.initial, self.apart = address, initial, apart
        self.writes = {act.id: act for act in acts if act.is_write}
        self.reads = [act for act in acts if act.is_read]
        self.threads: dict[int, list[Act]] = {}
        for act in acts:
            self.threads.setdefault(act.thread, []).append(act)
        self.free = False  # listed without coherence and atomicity
        self.orders: list[Vector] = []
        self.choices: dict[int, tuple[list[Vector], list[set[int]]]] = {}

    def plain_reads(self, thread: int) -> list[Act]:
        """The reads of ``thread`` that have a source of their own choice."""
        return [a for a in self.threads[thread] if a.is_read and (self.free or a.rmw < 0)]

    def word(self, source: int) -> Value:
        """What a read that finds ``source`` gets."""
        return self.initial if source == INIT else self.writes[source].value

    def fill(self, facts: Facts, check: Callable[[], None]) -> bool:
        """Fill ``orders`` and ``choices``; whether any is left."""
        if not self.writes and not self.reads:
            self.orders = [()]
            return True
        if self.apart:
            return self._fill_in_all_orders(facts, check)
        self._list_orders(facts, check)
        if self.orders and any(act.rmw < 0 for act in self.reads):
            self._list_sources(facts, check)
        return bool(self.orders)

    def _fill_in_all_orders(self, facts: Facts, check: Callable[[], None]) -> bool:
        """What is coherent in any order of the accesses that have none."""
        variants = [
            [order for order in linear(acts, self.apart) if _is_atomic(order)]
            for acts in self.threads.values()
        ]
        if math.prod(map(len, variants)) > MAX_VARIANTS:
            raise LimitError("too many accesses of one word in expressions")
        found: dict[Vector, dict[int, set[Vector]]] = {}
        for chosen in product(*variants):
            part = self._copy()
            part.apart, part.choices = NONE, {}
            part.orders = []
            part.threads = dict(zip(self.threads, chosen, strict=True))
            if not part.fill(facts, check):
                continue
            for number, order in enumerate(part.orders):
                here = found.setdefault(order, {})
                for thread, (vectors, sets) in part.choices.items():
                    ids = [act.id for act in part.plain_reads(thread)]
                    places = [ids.index(act.id) for act in self.plain_reads(thread)]
                    here.setdefault(thread, set()).update(
                        tuple(vectors[k][place] for place in places) for k in sets[number]
                    )
        self.orders = list(found)
        self._number_sources(list(found.values()))
        return bool(self.orders)

    def _number_sources(self, per_order: Sequence[Mapping[int, Iterable[Vector]]]) -> None:
        """Fill ``choices`` from the vectors that go with each coherence order."""
        for thread in per_order[0] if per_order else ():
            index: dict[Vector, int] = {}
            sets = [
                {index.setdefault(vector, len(index)) for vector in found[thread]}
                for found in per_order
            ]
            self.choices[thread] = [*index], sets

    def fill_freely(self, facts: Facts) -> bool:
        """List even what coherence and atomicity forbid, to show why it is forbidden.

        Whether any is left, as ``fill``.
        """
        self.free = True
        self.orders = list(permutations(self.writes))
        if self.address in facts.final_wanted:
            wanted = facts.final_wanted[self.address]
            self.orders = [
                order for order in self.orders
                if self.word(order[-1] if order else INIT) == wanted
            ]  # fmt: skip
        for thread in self.threads:
            found = [
                [s for s in (INIT, *self.writes) if facts.allow(read.id, self.word(s))]
                for read in self.plain_reads(thread)
            ]
            vectors = list(product(*found))
            if not vectors:
                return False
            if found:
                self.choices[thread] = vectors, [set(range(len(vectors)))] * len(self.orders)
        return bool(self.orders)

    def _list_orders(self, facts: Facts, check: Callable[[], None]) -> None:
        """Linear extensions of program order, with each read-modify-write satisfied."""
        queues = [[act for act in acts if act.is_write] for acts in self.threads.values()]
        queues = [queue for queue in queues if queue]
        wanted = facts.final_wanted.get(self.address)
        n = sum(map(len, queues))
        order: list[int] = []
        heads = [0] * len(queues)

        def extend() -> None:
            last = order[-1] if order else INIT
            if len(order) == n:
                word = self.word(last)
                if wanted is None or not isinstance(word, int) or word == wanted:
                    self._found(order, check)
                return
            for number, queue in enumerate(queues):
                head = heads[number]
                if head < len(queue):
                    act = queue[head]
                    if act.rmw >= 0 and not facts.allow(act.rmw, self.word(last)):
                        continue
                    heads[number] += 1
                    order.append(act.id)
                    extend()
                    order.pop()
                    heads[number] -= 1

        extend()

    def _found(self, order: Sequence[int], check: Callable[[], None]) -> None:
        self.orders.append(tuple(order))
        if len(self.orders) % 1024 == 0:
            check()
        if len(self.orders) > MAX_ORDERS:
            raise LimitError(f"more than {MAX_ORDERS} coherence orders of one word")

    def _list_sources(self, facts: Facts, check: Callable[[], None]) -> None:
        kept: list[Vector] = []
        per_order: list[dict[int, list[Vector]]] = []
        readers = [
            thread
            for thread, acts in self.threads.items()
            if any(act.is_read and act.rmw < 0 for act in acts)
        ]
        for number, order in enumerate(self.orders):
            if number % 256 == 0:
                check()
            place = {write: index + 1 for index, write in enumerate(order)}
            found = {}
            for thread in readers:
                vectors = self._vectors(self.threads[thread], order, place, facts)
                if not vectors:
                    break
                found[thread] = vectors
            else:
                kept.append(order)
                per_order.append(found)
        self.orders = kept
        self._number_sources(per_order)

    def _vectors(
        self, acts: Sequence[Act], order: Vector, place: Mapping[int, int], facts: Facts
    ) -> list[Vector]:
        """Sources for the plain reads of one thread, in program order."""
        ceiling: list[int] = []
        high = len(order)
        for act in reversed(acts):
            if act.is_write:
                high = place[act.id] - 1
            ceiling.append(high)
        ceiling.reverse()
        vectors: list[Vector] = []

        def extend(index: int, low: int, chosen: Vector) -> None:
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
                if facts.allow(read, self.word(source)):
                    extend(index + 1, at, (*chosen, source))

        extend(0, 0, ())
        return vectors

    # -- splitting ----------------------------------------------------------------

    def _copy(self) -> Location:
        copy = Location.__new__(Location)
        copy.address, copy.initial, copy.apart = self.address, self.initial, self.apart
        copy.writes, copy.reads, copy.threads = self.writes, self.reads, self.threads
        copy.free = self.free
        copy.orders, copy.choices = self.orders, self.choices
        return copy

    def size(self) -> int:
        """How many candidates this word alone makes, dead ones included."""
        total = len(self.orders)
        for vectors, _ in self.choices.values():
            total *= len(vectors)
        return total

    def split(self) -> Iterator[Location]:
        """The same candidates in smaller parts: one digit fixed."""
        if len(self.orders) > 1:
            step = -(-len(self.orders) // 16)
            for start in range(0, len(self.orders), step):
                part = self._copy()
                part.orders = self.orders[start : start + step]
                part.choices = {
                    thread: _only(vectors, sets[start : start + step])
                    for thread, (vectors, sets) in self.choices.items()
                }
                yield part
            return
        thread = max(self.choices, key=lambda thread: len(self.choices[thread][0]))
        for vector in self.choices[thread][0]:
            part = self._copy()
            part.choices = {**self.choices, thread: ([vector], [{0}])}
            yield part


def _is_atomic(acts: Sequence[Act]) -> bool:
    """Whether no write stands between the halves of a read-modify-write.

    herd lets a write stand there whose word comes from what was read; C does not, since the
    call that reads and writes has come to its end by then.
    """
    begun: set[int] = set()
    for act in acts:
        if act.is_read and act.rmw >= 0:
            begun.add(act.rmw)
        elif act.is_write:
            begun.discard(act.id)
            if begun:
                return False
    return True


def _only(
    vectors: Sequence[Vector], sets: Sequence[set[int]]
) -> tuple[list[Vector], list[set[int]]]:
    """The vectors in ``sets``, renumbered."""
    used = sorted(set().union(*sets))
    index = {number: i for i, number in enumerate(used)}
    kept = [vectors[number] for number in used]
    return kept, [{index[number] for number in some} for some in sets]


def pieces(locations: Sequence[Location], limit: int) -> Iterator[Sequence[Location]]:
    """``locations`` in parts of at most ``limit`` candidates each, where possible."""
    total = 1
    for location in locations:
        total *= location.size()
    if total <= limit:
        yield locations
        return
    biggest = max(range(len(locations)), key=lambda number: locations[number].size())
    for part in locations[biggest].split():
        yield from pieces([*locations[:biggest], part, *locations[biggest + 1 :]], limit)
