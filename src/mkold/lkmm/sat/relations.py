"""Relations over the memory nodes of one execution, as rows of bits that know their reasons.

``rows[i]`` has bit j where the edge from node i to node j is there. Each relation remembers
what it was made from, so that an edge can be told as rules (``Reasons``: facts from which it
follows) and traced to base edges (``steps``, for pictures).

A ``named`` relation's edges are facts of their own (see ``facts``); others are spelt out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import and_, or_

from mkold.lkmm.sat.facts import Fact, Rules
from mkold.lkmm.sat.layout import Mask, bits

Rows = list[Mask]
Facts = tuple[Fact, ...]
Step = tuple["Rel", int, int]  # this edge of this relation


class Rel:
    """``why(a, b)`` gives the facts and edges that make the edge; ``plainly`` one by one."""

    __slots__ = ("name", "named", "rows")

    def __init__(self, name: str, rows: Rows, *, named: bool = False) -> None:
        self.name, self.rows, self.named = name, rows, named

    def __bool__(self) -> bool:
        return any(self.rows)

    def has(self, a: int, b: int) -> int:
        """1 if the edge is there, else 0."""
        return self.rows[a] >> b & 1

    def why(self, a: int, b: int) -> tuple[Facts, list[Step]]:
        """Facts, and edges of the parts, that together make this edge."""
        raise NotImplementedError

    def pairs(self) -> Iterable[tuple[int, int]]:
        """Every edge."""
        for a, row in enumerate(self.rows):
            for b in bits(row):
                yield a, b


class Base(Rel):
    """Edges given with the facts that make them."""

    __slots__ = ("_why",)

    def __init__(self, name: str, n: int, why: Mapping[tuple[int, int], Facts]) -> None:
        rows = [0] * n
        for a, b in why:
            rows[a] |= 1 << b
        super().__init__(name, rows)
        self._why = why

    def why(self, a: int, b: int) -> tuple[Facts, list[Step]]:
        return self._why[a, b], []


class Product(Rel):
    """All of one set to all of another, for several pairs of sets: fences and the like."""

    __slots__ = ("_ids", "_parts")

    def __init__(
        self, name: str, rows: Rows, parts: Sequence[tuple[Mask, Mask, Facts]], ids: list[int]
    ) -> None:
        super().__init__(name, rows)
        self._parts, self._ids = parts, ids

    def why(self, a: int, b: int) -> tuple[Facts, list[Step]]:
        for left, right, facts in self._parts:
            if left >> a & 1 and right >> b & 1:
                ids = self._ids
                return (*facts, Fact("happens", ids[a]), Fact("happens", ids[b])), []
        raise AssertionError(f"no {self.name} there")


class Union(Rel):
    """Any of the parts."""

    __slots__ = ("parts",)

    def __init__(self, name: str, parts: Sequence[Rel], n: int, *, named: bool = False) -> None:
        self.parts = [part for part in parts if part]
        rows = [0] * n
        for part in self.parts:
            rows = list(map(or_, rows, part.rows))
        super().__init__(name, rows, named=named)

    def why(self, a: int, b: int) -> tuple[Facts, list[Step]]:
        part = next(part for part in self.parts if part.rows[a] >> b & 1)
        return (), [(part, a, b)]


class Seq(Rel):
    """One after the other."""

    __slots__ = ("first", "second")

    def __init__(self, name: str, first: Rel, second: Rel, *, named: bool = True) -> None:
        after = second.rows
        rows = []
        for row in first.rows:
            out = 0
            while row:
                low = row & -row
                out |= after[low.bit_length() - 1]
                row ^= low
            rows.append(out)
        super().__init__(name, rows, named=named)
        self.first, self.second = first, second

    def why(self, a: int, b: int) -> tuple[Facts, list[Step]]:
        second = self.second.rows
        via = next(m for m in bits(self.first.rows[a]) if second[m] >> b & 1)
        return (), [(self.first, a, via), (self.second, via, b)]


class Closure(Rel):
    """One or more steps; an edge follows from a shorter one and a last step."""

    __slots__ = ("_before", "part")

    def __init__(self, name: str, part: Rel) -> None:
        super().__init__(name, closed(part.rows), named=True)
        self.part = part
        self._before: dict[int, dict[int, int]] = {}

    def why(self, a: int, b: int) -> tuple[Facts, list[Step]]:
        if a not in self._before:
            self._before[a] = tree(self.part.rows, a)
        via = self._before[a][b]
        last: Step = (self.part, via, b)
        return (), [last] if via == a else [(self, a, via), last]


class Kept(Rel):
    """The edges of ``part`` that a test on the nodes leaves, which never changes."""

    __slots__ = ("part",)

    def __init__(self, part: Rel, rows: Rows) -> None:
        super().__init__(part.name, rows)
        self.part = part

    def why(self, a: int, b: int) -> tuple[Facts, list[Step]]:
        return (), [(self.part, a, b)]


class Identity(Rel):
    """Each node of a set to itself: nothing to be explained."""

    __slots__ = ()

    def why(self, a: int, b: int) -> tuple[Facts, list[Step]]:
        return (), []


def masked(part: Rel, masks: Rows) -> Rel:
    """The edges to each node's ``masks``."""
    return Kept(part, list(map(and_, part.rows, masks)))


def tree(rows: Rows, root: int) -> dict[int, int]:
    """For each node that a non-empty path from ``root`` reaches, the one before it."""
    before: dict[int, int] = {}
    seen = 0
    front = [root]
    while front:
        following = []
        for a in front:
            new = rows[a] & ~seen
            seen |= new
            for b in bits(new):
                before[b] = a
                following.append(b)
        front = following
    return before


def closed(rows: Rows) -> Rows:
    """The transitive closure: depth first, or step by step where there are cycles."""
    done: list[Mask | None] = [None] * len(rows)
    for start, row in enumerate(rows):
        if done[start] is None and (not row or not _close(rows, start, done)):
            if row:
                return _closed_with_cycles(rows)
            done[start] = 0
    return [mask or 0 for mask in done]


def _close(rows: Rows, start: int, done: list[Mask | None]) -> bool:
    """Close ``start`` and all that it reaches; False: there is a cycle."""
    stack = [(start, rows[start], 0)]
    open_now = 1 << start
    while stack:
        node, rest, reach = stack.pop()
        rest &= ~reach
        while rest:
            low = rest & -rest
            if low & open_now:
                return False
            known = done[low.bit_length() - 1]
            if known is None:
                stack.append((node, rest, reach))
                node = low.bit_length() - 1
                open_now |= low
                rest, reach = rows[node], 0
                continue
            reach |= known | low
            rest &= ~reach
        done[node] = reach
        open_now &= ~(1 << node)
    return True


def _closed_with_cycles(rows: Rows) -> Rows:
    rows = list(rows)
    for via, row in enumerate(rows):
        if row:
            bit = 1 << via
            rows = [other | rows[via] if other & bit else other for other in rows]
    return rows


class Reasons:
    """Tells the reasons of edges in one execution as rules."""

    def __init__(self, rules: Rules, ids: list[int]) -> None:
        self._rules, self._ids = rules, ids
        self._told: set[tuple[str, int, int]] = set()

    def of(self, *steps: Step) -> set[Fact]:
        """Facts from which the edges follow, once the rules told are known."""
        body: set[Fact] = set()
        todo = list(steps)
        while todo:
            rel, a, b = todo.pop()
            if rel.named:
                body.add(Fact(rel.name, self._ids[a], self._ids[b]))
                self._tell(rel, a, b)
            else:
                facts, parts = rel.why(a, b)
                body.update(facts)
                todo += parts
        return body

    def _tell(self, rel: Rel, a: int, b: int) -> None:
        """Tell why a named edge is there, and why what it follows from is."""
        todo: list[Step] = [(rel, a, b)]
        while todo:
            rel, a, b = todo.pop()
            key = rel.name, a, b
            if key in self._told:
                continue
            self._told.add(key)
            body: set[Fact] = set()
            parts: list[Step] = [(rel, a, b)]
            first = True
            while parts:
                part, x, y = parts.pop()
                if part.named and not first:
                    body.add(Fact(part.name, self._ids[x], self._ids[y]))
                    todo.append((part, x, y))
                    continue
                first = False
                facts, more = part.why(x, y)
                body.update(facts)
                parts += more
            self._rules.tell(Fact(rel.name, self._ids[a], self._ids[b]), body)
