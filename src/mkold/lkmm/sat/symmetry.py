"""Threads that can be exchanged: the rest of the program can't tell one from the other.

Two threads of one function differ in constants: a node of their own, a number. Exchanging
them is a symmetry if every word that there is has one that corresponds to it, place by
place: where one thread finds an address, the other finds the address that takes its place.
So the exchange comes with a renaming of words for each place of memory and each value, which
is worked out from what is stored, round by round, and must come out one to one. Then each
branch must go the same way on words that correspond, for every thread of the program.

The exchange then maps executions to executions, allowed ones to allowed ones, and hangs,
races and flags to themselves. Values are followed part by part, so a symmetry may be missed,
but none is made up.

Known limits: words of which only bits are known must be the same for both threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mkold.ir.nodes import evaluate_binary, evaluate_unary
from mkold.ir.program import POISONS, Mem, Observed, Reg
from mkold.lkmm.graph.events import Node
from mkold.lkmm.graph.guards import (
    Both,
    Either,
    Guard,
    Opposite,
    Taken,
    both,
    either,
    negate,
    taken,
)
from mkold.lkmm.graph.values import Applied, Chosen, Combined, Found, Met, Value
from mkold.lkmm.known.words import initial_word
from mkold.lkmm.sat.abstract import Partly
from mkold.lkmm.sat.front import Unrolled

PAIRS = 4_096  # of words that an operator is followed for
Renaming = dict[int, int] | None  # None: each word is its own


class _Differ(Exception):  # noqa: N818 - a signal, not an error
    """The exchange is none."""


class Exchange:
    """The exchange of units ``one`` and ``two`` of ``made``; ``holds``: it is a symmetry."""

    def __init__(self, made: Unrolled, one: int, two: int) -> None:
        self.made, self.graph = made, made.graph
        self.units = {one: two, two: one}
        self._nodes: dict[int, int] = {}
        self._decisions: dict[int, int] = {}
        self._places: dict[int, int] = {}
        self._memory: dict[int, dict[int, int]] = {}
        self._guards: dict[Guard, Guard] = {}
        self._values: dict[tuple[Value, Value], Renaming] = {}
        try:
            self._pair_up(one, two)
            self._pair_up(two, one)
            self._follow()
            self._check()
            self.holds = True
        except _Differ:
            self.holds = False

    # -- what takes the place of what ----------------------------------------------

    def _pair_up(self, one: int, two: int) -> None:
        graph = self.graph
        nodes, decisions = [], []
        for unit in (one, two):
            nodes.append([n for n in graph.nodes if graph.unit_of_thread[n.thread] == unit])
            decisions.append([k for k, d in enumerate(graph.decisions) if d.unit == unit])
        if len(nodes[0]) != len(nodes[1]) or len(decisions[0]) != len(decisions[1]):
            raise _Differ
        for a, b in zip(*nodes, strict=True):
            if _shape(a, nodes[0][0]) != _shape(b, nodes[1][0]):
                raise _Differ
            self._nodes[a.id] = b.id
        self._decisions.update(zip(*decisions, strict=True))

    def _node(self, node: int) -> int:
        return self._nodes.get(node, node)

    def _guard(self, guard: Guard) -> Guard:
        """The guard that takes its place."""
        if isinstance(guard, int):
            return guard
        known = self._guards.get(guard)
        if known is None:
            known = self._guards[guard] = self._renamed(guard)
        return known

    def _renamed(self, guard: Guard) -> Guard:
        match guard:
            case Taken(number):
                return taken(self._decisions.get(number, number))
            case Opposite(inner):
                return negate(self._guard(inner))
            case Both(a, b):
                return both(self._guard(a), self._guard(b))
            case Either(a, b):
                return either(self._guard(a), self._guard(b))
        return guard

    # -- words --------------------------------------------------------------------

    def _follow(self) -> None:
        """Work out which words correspond, until nothing new comes of it."""
        accesses = [n for n in self.graph.nodes if n.is_read or n.is_write]
        grown = True
        while grown:
            self._values.clear()
            grown = False
            for node in accesses:
                grown |= self._access(node)

    def _access(self, node: Node) -> bool:
        other = self.graph.nodes[self._node(node.id)]
        grown = False
        renaming = self._value(node.addr, other.addr)
        for place in self.made.places.get(node.id, ()):
            to = place if renaming is None else renaming.get(place)
            if to is None:
                continue
            if place not in self._places:
                self._places[place] = to
                self._memory[place] = {}
                first = {initial_word(self.graph, place): initial_word(self.graph, to)}
                grown |= self._put(place, first)
            if self._places[place] != to:
                raise _Differ
            if node.is_write:
                grown |= self._put(place, self._value(node.value, other.value))
        return grown

    def _put(self, place: int, renaming: Renaming) -> bool:
        known = self._memory[place]
        before = len(known)
        for word, to in (renaming or {}).items():
            if known.setdefault(word, to) != to:
                raise _Differ
        return len(known) != before

    def _value(self, value: Value, other: Value) -> Renaming:
        """Which words of ``other`` correspond to those of ``value``."""
        if isinstance(value, int) and isinstance(other, int):
            return {value: other}
        key = value, other
        if key not in self._values:
            self._values[key] = self._made_of(value, other)
        return self._values[key]

    def _made_of(self, value: Value, other: Value) -> Renaming:
        match value, other:
            case Found(read), Found(theirs) if self._node(read) == theirs:
                return self._found(read, theirs)
            case Applied(op, a), Applied(to, x) if op == to:
                return _map1(op, self._value(a, x))
            case Combined(op, a, b), Combined(to, x, y) if op == to:
                return _map2(op, self._value(a, x), self._value(b, y))
            case Chosen(c, a, b), Chosen(z, x, y):
                _same_truth(self._value(c, z))
                return _merged(self._value(a, x), self._value(b, y))
            case Met(g, a, b), Met(h, x, y) if self._guard(g) is h:
                return _merged(self._value(a, x), self._value(b, y))
        raise _Differ

    def _found(self, read: int, other: int) -> Renaming:
        domain = self.made.domains[read]
        if isinstance(domain, Partly):
            if self.made.domains[other] != domain:
                raise _Differ
            return None
        found: Renaming = {}
        for place in self.made.places[read]:
            known = self._memory.get(place, {})
            found = _merged(found, {word: known[word] for word in domain if word in known})
        return found

    # -- is it one? ---------------------------------------------------------------

    def _check(self) -> None:
        graph, made = self.graph, self.made
        _one_to_one(self._places)
        for known in self._memory.values():
            _one_to_one(known)
        self._themselves_where_unknown()
        for node in graph.nodes:
            self._same_node(node, graph.nodes[self._node(node.id)])
        for k, decision in enumerate(graph.decisions):
            other = graph.decisions[self._decisions.get(k, k)]
            self._same_guard(decision.guard, other.guard)
            if decision.cond is None or other.cond is None:
                if decision.cond is not other.cond:
                    raise _Differ
                continue
            _same_truth(self._value(decision.cond, other.cond))
        self._same_list((check.unit, check.guard, check.cond) for check in graph.checks)
        self._same_list((unit, guard, 1) for guard, unit in graph.waits)
        for stops in (made.stands, made.keeps, made.cuts):
            self._same_list((stop.unit, stop.guard, 1) for stop in stops)

    def _same_list(self, items: Iterable[tuple[int, Guard, Value]]) -> None:
        """What the units have of a kind, in order, corresponds."""
        by_unit: dict[int, list[tuple[Guard, Value]]] = {}
        for unit, guard, value in items:
            by_unit.setdefault(unit, []).append((guard, value))
        for unit, mine in by_unit.items():
            theirs = by_unit.get(self.units.get(unit, unit), [])
            if len(mine) != len(theirs):
                raise _Differ
            for (guard, value), (other, to) in zip(mine, theirs, strict=True):
                self._same_guard(guard, other)
                _same_truth(self._value(value, to))

    def _same_guard(self, guard: Guard, other: Guard) -> None:
        renamed = self._guard(guard)
        if renamed is not other and renamed != other:
            raise _Differ

    def _same_node(self, node: Node, other: Node) -> None:
        self._same_guard(node.guard, other.guard)
        for sort in ("addr_deps", "data_deps", "ctrl_deps"):
            mine, theirs = getattr(node, sort), getattr(other, sort)
            if {self._node(r): self._guard(g) for r, g in mine.items()} != theirs:
                raise _Differ

    def _themselves_where_unknown(self) -> None:
        """Where only bits of what is found are known, no word is renamed."""
        for read, domain in self.made.domains.items():
            if isinstance(domain, Partly):
                for place in self.made.places[read]:
                    if any(a != b for a, b in self._memory.get(place, {}).items()):
                        raise _Differ

    # -- states -------------------------------------------------------------------

    def stays(self, place: int) -> bool:
        """Whether the word at ``place`` is the same for both threads."""
        return self._places.get(place) == place

    def observed(self, place: Observed) -> tuple[Observed, Renaming]:
        """The place that takes its place, and how its words are renamed.

        Raises
        ------
        KeyError : that can't be told
        """
        if isinstance(place, Mem):
            known: Renaming = self._memory.get(place.address)
            if known is not None and all(a == b for a, b in known.items()):
                known = None  # what is not listed is not renamed either
            return Mem(self._places.get(place.address, place.address)), known
        finals = self.graph.finals
        unit = self.units.get(place.thread, place.thread)
        mine = finals[place.thread].get(place.local, 0)
        theirs = finals[unit].get(place.local, 0)
        try:
            return Reg(unit, place.local), self._value(mine, theirs)
        except _Differ:
            raise KeyError(place) from None


def exchanges(made: Unrolled) -> Iterator[Exchange]:
    """Exchanges of neighbours among threads of one function, as far as they are symmetries."""
    last: dict[str, int] = {}
    for unit, thread in enumerate(made.graph.program.threads):
        before = last.get(thread.function)
        if before is not None:
            exchange = Exchange(made, before, unit)
            if exchange.holds:
                yield exchange
        last[thread.function] = unit


def _shape(node: Node, first: Node) -> tuple[object, ...]:
    rmw = node.rmw - first.id if node.rmw >= 0 else None
    return (node.kind, node.order, node.prim, node.at, node.conditional, node.po, rmw,
            node.must, node.life, node.thread == first.thread)  # fmt: skip


def _same_truth(renaming: Renaming) -> None:
    if any(bool(a) != bool(b) for a, b in (renaming or {}).items()):
        raise _Differ


def _one_to_one(renaming: dict[int, int]) -> None:
    """No two words become one; NULL and poison stay what they are."""
    if len(set(renaming.values())) != len(renaming):
        raise _Differ
    for special in POISONS | {0}:
        if renaming.get(special, special) != special:
            raise _Differ


def _map1(op: str, a: Renaming) -> Renaming:
    if a is None:
        return None
    return _made((evaluate_unary(op, x), evaluate_unary(op, y)) for x, y in a.items())


def _map2(op: str, a: Renaming, b: Renaming) -> Renaming:
    if a is None or b is None:
        if all(x == y for some in (a, b) for x, y in (some or {}).items()):
            return None
        raise _Differ
    if len(a) * len(b) > PAIRS:
        raise _Differ
    return _made(
        (evaluate_binary(op, x, p), evaluate_binary(op, y, q))
        for x, y in a.items()
        for p, q in b.items()
    )


def _made(pairs: Iterable[tuple[int, int]]) -> Renaming:
    renaming: dict[int, int] = {}
    for word, to in pairs:
        if renaming.setdefault(word, to) != to:
            raise _Differ
    return renaming


def _merged(a: Renaming, b: Renaming) -> Renaming:
    if a is None or b is None:
        return _map2("or", a, b)  # both or neither is renamed
    return _made((*a.items(), *b.items()))
