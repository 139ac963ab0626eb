"""Plain accesses: when they are coherent, and when they race.

A compiler may split, repeat or move a plain access, so its effects are known only between
ordering points around it ("pre-" and "post-bounded"). Two accesses to one place from
different threads, one of them a write and one plain, race unless ordered through those
points: ``vis`` (visible to all) for a write, executes-before (``xbstar``) for a read.

Rows of these relations are worked out one by one, from events that are in such a pair.

Source: linux-kernel.cat ("Plain accesses and data races"); explanation.txt, "Plain
accesses and data races".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mkold.lkmm.model.base import Base
from mkold.lkmm.model.grace import Grace
from mkold.lkmm.model.order import Order
from mkold.lkmm.model.relations import Rel, Rows, closure, keep_inside, seq, union
from mkold.lkmm.paths.paths import Act

Vector = dict[int, int]
Pair = tuple[int, int]


def racing_pairs(acts: Iterable[Act]) -> set[Pair]:
    """Conflicting accesses of two threads, one plain (pre-race)."""
    by_address: dict[int, list[Act]] = {}
    for act in acts:
        if act.is_read or act.is_write:
            by_address.setdefault(act.address, []).append(act)
    return {
        (a.id, b.id)
        for here in by_address.values()
        if not all(act.marked for act in here)
        for a in here
        for b in here
        if a.thread != b.thread and (a.is_write or b.is_write) and not (a.marked and b.marked)
    }


def mixes(base: Base) -> bool:
    """Whether a plain write is next to a marked access of the same place."""
    if not any(a.is_write and not a.marked for a in base.acts.values()):
        return False
    for ordering in base.orderings:
        apart = {*ordering.barrier, *ordering.apart}
        for acts in ordering.threads.values():
            accesses = [a for a in acts if a.is_read or a.is_write]
            for index, a in enumerate(accesses):
                if any(_mixed(a, b) and (a.id, b.id) not in apart
                       for b in accesses[index + 1 :]):  # fmt: skip
                    return True
    return False


def _mixed(a: Act, b: Act) -> bool:
    return (
        a.address == b.address and a.marked != b.marked and (b if a.marked else a).is_write
    )  # fmt: skip


@dataclass(slots=True)
class Visibility:
    """What ``ww-vis``, ``wr-vis`` and ``rw-xbstar`` are made from; ``rows`` of them so far."""

    base: Base
    order: Order
    fence: Rel
    strong: Rel
    strong_marked: Rel
    xb: Rel
    xb_inside: Rel
    r_before: Rel
    r_after: Rel
    w_before: Rel
    known: dict[tuple[str, int], Vector] = field(default_factory=dict)

    def row(self, relation: str, a: int) -> Vector:
        """One row of ``ww-vis``, ``wr-vis`` or ``rw-xbstar``."""
        key = relation, a
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = self._compute(relation, a)
        return found

    def _compute(self, relation: str, a: int) -> Vector:
        here = {a: self.base.rows}
        fenced = _step(here, self.fence)
        if relation == "rw-xbstar":
            left = self._marked(_optionally(here, self.r_after))
            reached = _optionally(left, self.xb)
            return _both(fenced, _optionally(self._marked(reached), self.w_before))
        bounded = self.w_before if relation == "ww-vis" else self.r_before
        strongly = self._marked(_optionally(_step(here, self.strong), self.xb))
        left = self._marked(_optionally(here, self.fence))
        left = _optionally(left, self.order.propagation.rmw_sequence)
        visible = self._marked(self._vis(self._marked(left)))
        return _both(fenced, _optionally(_both(strongly, visible), bounded))

    def _marked(self, vector: Vector) -> Vector:
        return {a: mask for a, mask in vector.items() if self.base.acts[a].marked}

    def _vis(self, start: Vector) -> Vector:
        """vis: ``start`` marked; identity included."""
        seen = _optionally(start, self.order.propagation.cumul)
        seen = self._marked(_optionally(seen, self.order.propagation.rfe_marked))
        everywhere = _optionally(_step(seen, self.strong_marked), self.xb)
        return _both(everywhere, _optionally(seen, self.xb_inside))


def visibility(base: Base, order: Order, grace: Grace | None) -> Visibility:
    """The relations between ordering points."""
    rcu_fence = _rcu_fence(grace)
    fence = union("fence", order.fences.all, rcu_fence)
    strong = union("strong-fence", order.fences.strong, rcu_fence)
    steps = [order.time]
    if rcu_fence:
        marked = base.both_marked("rcu-fence", rcu_fence)
        steps += [marked, seq("rb", order.propagation.prop, marked)]
    xb = closure("xbstar", union("xb", *steps))
    addr, nonrw = order.deps.addr, order.fences.nonrw
    return Visibility(
        base=base,
        order=order,
        fence=fence,
        strong=strong,
        strong_marked=base.both_marked("strong-fence", strong),
        xb=xb,
        xb_inside=keep_inside("xbstar", xb, base.thread),
        r_before=union("r-pre-bounded", addr, nonrw, base.static("rmb", "rmb_from")),
        r_after=union("r-post-bounded", nonrw, base.static("rmb", "rmb_to")),
        w_before=union("w-pre-bounded", addr, fence),
    )


def _rcu_fence(grace: Grace | None) -> Rel:
    """rcu-fence: ``po ; rcu-order ; po?``."""
    if grace is None:
        return Rel("rcu-fence", {})
    threads = grace.threads
    rows: Rows = {}
    for i, j, mask in grace.order.pairs():
        first, last = grace.sections[i], grace.sections[j]
        for a in threads[first.end_thread][: first.end]:
            if a.is_read or a.is_write:
                row = rows.setdefault(a.id, {})
                for b in threads[last.thread][last.start :]:
                    if b.is_read or b.is_write:
                        row[b.id] = row.get(b.id, 0) | mask
    return Rel("rcu-fence", rows)


def incoherent(seen: Visibility, pairs: set[Pair]) -> Iterator[tuple[int, Rel]]:
    """wr-incoh, rw-incoh, ww-incoh: where order by fences contradicts rf, fr or co."""
    base = seen.base
    for rel, against in ((base.rfe, "rw-xbstar"), (base.fr, "wr-vis"), (base.co, "ww-vis")):
        rows: Rows = {}
        bad = 0
        for a, b, mask in rel.pairs():
            if (a, b) in pairs:
                wrong = mask & seen.row(against, b).get(a, 0)
                if wrong:
                    rows.setdefault(a, {})[b] = wrong
                    bad |= wrong
        if bad:
            yield bad, Rel(rel.name, rows)


def races(seen: Visibility, pairs: set[Pair]) -> Iterator[tuple[int, int, int]]:
    """Pairs that race, with where."""
    base, row = seen.base, seen.row
    marked = base.marked
    for a, b, mask in base.co.pairs():
        if (a, b) in pairs:
            fine = row("ww-vis", a).get(b, 0)
            if a not in marked:
                fine &= row("rw-xbstar", a).get(b, 0)
            if b not in marked:
                fine &= row("wr-vis", a).get(b, 0)
            yield a, b, mask & ~fine
    rf = union("rf", base.rfe, base.rfi)
    for a, b, mask in union("co?;rf", rf, seq("co?;rf", base.co, rf)).pairs():
        if (a, b) in pairs:
            fine = row("wr-vis", a).get(b, 0) | row("rw-xbstar", b).get(a, 0)
            yield a, b, mask & ~fine
    for a, b, mask in base.fr.pairs():
        if (a, b) in pairs:
            yield a, b, mask & ~row("rw-xbstar", a).get(b, 0)


def _step(vector: Vector, rel: Rel) -> Vector:
    """``vector ; rel``."""
    result: Vector = {}
    for a, mask in vector.items():
        for b, other in rel.rows.get(a, {}).items():
            both = mask & other
            if both:
                result[b] = result.get(b, 0) | both
    return result


def _optionally(vector: Vector, rel: Rel) -> Vector:
    """``vector ; rel?``."""
    return _both(vector, _step(vector, rel)) if rel.rows else vector


def _both(first: Vector, second: Vector) -> Vector:
    result = dict(first)
    for a, mask in second.items():
        result[a] = result.get(a, 0) | mask
    return result
