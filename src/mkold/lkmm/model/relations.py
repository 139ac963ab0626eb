"""Relations over events, for very many executions at once.

An edge carries a *mask*: an ``int`` whose bit number i says whether the edge is there in
candidate execution number i. Set operations become ``&`` and ``|`` of whole masks, so a
thousand executions cost little more than one.

Each derived relation remembers what it was made from, so that an edge can be traced back
to base edges (``trace``), which is how a cycle is explained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from mkold.lkmm.verdict import Edge

Rows = dict[int, dict[int, int]]


class Rel:
    """A relation: ``rows[a][b]`` is the mask of the executions in which ``a -> b``."""

    __slots__ = ("name", "op", "parts", "rows")

    def __init__(
        self, name: str, rows: Rows, op: str = "base", parts: tuple[Rel, ...] = ()
    ) -> None:
        self.name, self.rows, self.op, self.parts = name, rows, op, parts

    def __bool__(self) -> bool:
        return bool(self.rows)

    def get(self, a: int, b: int) -> int:
        row = self.rows.get(a)
        return row.get(b, 0) if row else 0

    def pairs(self) -> Iterator[tuple[int, int, int]]:
        for a, row in self.rows.items():
            for b, mask in row.items():
                yield a, b, mask


def base(name: str, pairs: Iterable[tuple[int, int]], mask: int) -> Rel:
    """The same edges in every execution of ``mask``."""
    rows: Rows = {}
    for a, b in pairs:
        row = rows.get(a)
        if row is None:
            rows[a] = {b: mask}
        else:
            row[b] = mask
    return Rel(name, rows)


def union(name: str, *parts: Rel) -> Rel:
    full = [part for part in parts if part.rows]
    if len(full) == 1:
        return Rel(name, full[0].rows, "union", (full[0],))
    rows: Rows = {}
    for part in full:
        for a, row in part.rows.items():
            into = rows.get(a)
            if into is None:
                rows[a] = dict(row)
            else:
                for b, mask in row.items():
                    into[b] = into.get(b, 0) | mask
    return Rel(name, rows, "union", tuple(full))


def seq(name: str, first: Rel, second: Rel) -> Rel:
    """``first ; second``."""
    rows: Rows = {}
    after = second.rows
    if after:
        for a, row in first.rows.items():
            out: dict[int, int] = {}
            for b, mask in row.items():
                following = after.get(b)
                if following:
                    for c, other in following.items():
                        both = mask & other
                        if both:
                            out[c] = out.get(c, 0) | both
            if out:
                rows[a] = out
    return Rel(name, rows, "seq", (first, second))


def closure(name: str, rel: Rel) -> Rel:
    """The transitive closure."""
    rows = {a: dict(row) for a, row in rel.rows.items()}
    for via in list(rows):
        following = list(rows[via].items())
        for row in rows.values():
            mask = row.get(via)
            if mask:
                for b, other in following:
                    both = mask & other
                    if both:
                        old = row.get(b, 0)
                        if both | old != old:
                            row[b] = old | both
    return Rel(name, rows, "closure", (rel,))


def keep(name: str, rel: Rel, test: Callable[[int, int], bool]) -> Rel:
    """The edges that pass ``test``."""
    rows: Rows = {}
    for a, row in rel.rows.items():
        out = {b: mask for b, mask in row.items() if test(a, b)}
        if out:
            rows[a] = out
    return Rel(name, rows, "union", (rel,))


def keep_to(name: str, rel: Rel, targets: Collection[int]) -> Rel:
    """The edges that lead to ``targets``."""
    rows: Rows = {}
    for a, row in rel.rows.items():
        out = {b: mask for b, mask in row.items() if b in targets}
        if out:
            rows[a] = out
    return Rel(name, rows, "union", (rel,))


def keep_among(name: str, rel: Rel, events: Collection[int]) -> Rel:
    """The edges with both ends in ``events``."""
    rows: Rows = {}
    for a, row in rel.rows.items():
        if a in events:
            out = {b: mask for b, mask in row.items() if b in events}
            if out:
                rows[a] = out
    return Rel(name, rows, "union", (rel,))


def keep_inside(name: str, rel: Rel, thread: Mapping[int, int]) -> Rel:
    """The edges between two events of one thread."""
    rows: Rows = {}
    for a, row in rel.rows.items():
        home = thread[a]
        out = {b: mask for b, mask in row.items() if thread[b] == home and a != b}
        if out:
            rows[a] = out
    return Rel(name, rows, "union", (rel,))


def keep_across(name: str, rel: Rel, thread: Mapping[int, int]) -> Rel:
    """The edges between events of two threads."""
    rows: Rows = {}
    for a, row in rel.rows.items():
        home = thread[a]
        out = {b: mask for b, mask in row.items() if thread[b] != home}
        if out:
            rows[a] = out
    return Rel(name, rows, "union", (rel,))


def cyclic(rel: Rel) -> int:
    """Executions in which ``rel`` has a cycle.

    Events are taken out one by one, each replaced by edges from its predecessors to its
    successors; a cycle shows as an edge from an event to itself.
    """
    after = {a: dict(row) for a, row in rel.rows.items()}
    before: Rows = {}
    for a, row in rel.rows.items():
        for b, mask in row.items():
            before.setdefault(b, {})[a] = mask
    bad = 0
    pending = [event for event in after if event in before]
    pending.sort(key=lambda event: len(after[event]) * len(before[event]))
    for event in pending:
        outgoing, incoming = after.pop(event), before.pop(event)
        bad |= outgoing.pop(event, 0) & incoming.pop(event, 0)
        for b in outgoing:
            before[b].pop(event, None)
        for a in incoming:
            after[a].pop(event, None)
        for a, mask in incoming.items():
            row = after[a]
            for b, other in outgoing.items():
                both = mask & other
                if both:
                    if a == b:
                        bad |= both
                    else:
                        row[b] = before[b][a] = row.get(b, 0) | both
    return bad


def trace(rel: Rel, a: int, b: int, bit: int) -> list[Edge]:
    """The edge ``a -> b`` of the execution ``bit`` as base edges, in order."""
    if rel.op == "base":
        return [Edge(a, rel.name, b)]
    if rel.op == "union":
        part = next(part for part in rel.parts if part.get(a, b) & bit)
        return trace(part, a, b, bit)
    if rel.op == "seq":
        first, second = rel.parts
        for via, mask in first.rows[a].items():
            if mask & second.get(via, b) & bit:
                return trace(first, a, via, bit) + trace(second, via, b, bit)
    assert rel.op == "closure"
    steps = path(rel.parts[0], a, b, bit)
    assert steps is not None
    return [edge for x, y in steps for edge in trace(rel.parts[0], x, y, bit)]


def path(rel: Rel, a: int, b: int, bit: int) -> list[tuple[int, int]] | None:
    """A shortest non-empty path from ``a`` to ``b`` in execution ``bit``."""
    reached: dict[int, int] = {}
    front = [a]
    while front:
        following = []
        for x in front:
            for y, mask in rel.rows.get(x, {}).items():
                if mask & bit and y not in reached:
                    reached[y] = x
                    following.append(y)
        if b in reached:
            steps = [(reached[b], b)]
            while steps[0][0] != a:
                steps.insert(0, (reached[steps[0][0]], steps[0][0]))
            return steps
        front = following
    return None
