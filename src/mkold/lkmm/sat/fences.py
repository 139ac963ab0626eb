"""Orderings that a thread's path alone decides: fences, acquire and release, locks.

Each relation is a list of products: all memory nodes of one set before all of another, and
the facts, beside the two ends' happening, that make it so. The names are those of
linux-kernel.cat; ``unlock-po``, ``unlock-lock``, ``lock-po`` and ``lock-fence`` are the parts
of po-unlock-lock-po and of smp_mb__after_unlock_lock(). ``rmb-from`` and ``rmb-to`` are
smp_rmb() as r-pre-bounded and r-post-bounded see it.

Accesses of one expression are ordered where one is ``forced`` after the other; each such pair
is a product of its own, with that fact among its reasons.

A conditional read-modify-write has its tag only where its write happens (FailedRMW of
linux-kernel.bell): that fact is among the reasons.

Source: tools/memory-model/linux-kernel.cat ("Basic relations", "Fences"), linux-kernel.bell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations

from mkold.lkmm.graph.events import Node
from mkold.lkmm.sat.candidate import Candidate
from mkold.lkmm.sat.expressions import Pair, groups
from mkold.lkmm.sat.facts import Fact
from mkold.lkmm.sat.layout import Layout, Mask
from mkold.lkmm.sat.relations import Facts, Product
from mkold.lkmm.verdict import LOCK_KINDS

Part = tuple[Mask, Mask, Facts]
NAMES = (
    "po-rel", "acq-po", "rmb", "rmb-from", "rmb-to", "wmb", "mb", "gp", "unlock-po",
    "unlock-lock", "lock-po", "lock-fence",
)  # fmt: skip
_NO_ORDER = frozenset({"", "once", "plain", "noreturn"})


@dataclass(slots=True)
class PathOrder:
    """One path of one thread: its nodes in program order, and the products of each name."""

    acts: list[Node]
    parts: dict[str, list[Part]] = field(default_factory=lambda: {name: [] for name in NAMES})


class Fences:
    """The orderings of each thread, kept for each path that was seen."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._known: dict[tuple[int, frozenset[int], frozenset[Pair]], PathOrder] = {}

    def of(self, thread: int, candidate: Candidate) -> PathOrder:
        """The orderings of ``thread`` in an execution."""
        nodes, happens = self.layout.threads[thread], candidate.happens
        acts = [n for n in nodes if n.id in happens]
        here = frozenset([n.id for n in acts])
        forced = frozenset(
            (a.id, b.id) for group in self.layout.groups.get(thread, ())
            for a, b in combinations([n for n in group if n.id in here], 2)
            if candidate.depends("forced", b.id, a.id)
        )  # fmt: skip
        key = thread, here, forced
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _Path(self.layout, acts, here, forced).order
        return found

    def relation(self, name: str, orders: Sequence[PathOrder]) -> Product:
        """The relation of that name over all threads."""
        rows = [0] * self.layout.n
        parts = [part for order in orders for part in order.parts[name]]
        for left, right, _ in parts:
            while left:
                low = left & -left
                rows[low.bit_length() - 1] |= right
                left ^= low
        return Product(name, rows, parts, self.layout.ids)


class _Path:
    """Walks one path; ``order`` is the result.

    ``before``, ``after``: of each act, in all executions that take the path; ``forced``:
    in those in which accesses of one expression come one after the other.
    """

    def __init__(
        self, layout: Layout, acts: list[Node], here: frozenset[int], forced: frozenset[Pair]
    ) -> None:
        self.layout, self.here, self.forced = layout, here, forced
        self.order = PathOrder(acts)
        index = layout.index
        self.masks = [1 << index[n.id] if n.id in index else 0 for n in acts]
        total = 0
        self.before: list[Mask] = []
        for mask in self.masks:
            self.before.append(total)
            total |= mask
        self.after = [total & ~b & ~m for b, m in zip(self.before, self.masks, strict=True)]
        for group in groups(acts):
            self._apart(layout.of(group))
        for place, act in enumerate(acts):
            self._act(place, act)

    def _put(self, name: str, left: Mask, right: Mask, *facts: Fact) -> None:
        if left and right:
            self.order.parts[name].append((left, right, facts))

    def _apart(self, group: Mask) -> None:
        """None of an expression's accesses is before or after another for certain."""
        for place, mask in enumerate(self.masks):
            if mask & group:
                self.before[place] &= ~group
                self.after[place] &= ~group

    def _put_before(self, name: str, place: int, *facts: Fact) -> None:
        """All before an access, and then that."""
        act, mask = self.order.acts[place], self.masks[place]
        self._put(name, self.before[place], mask, *facts)
        for a, b in self.forced:
            if b == act.id:
                first = 1 << self.layout.index[a]
                self._put(name, first, mask, Fact("forced", a, b), *facts)

    def _put_after(self, name: str, place: int, *facts: Fact) -> None:
        """An access, and then all after it."""
        act, mask = self.order.acts[place], self.masks[place]
        self._put(name, mask, self.after[place], *facts)
        for a, b in self.forced:
            if a == act.id:
                last = 1 << self.layout.index[b]
                self._put(name, mask, last, Fact("forced", a, b), *facts)

    def tag(self, act: Node) -> str:
        """The tag, empty where a conditional read-modify-write failed."""
        return "" if act.conditional and act.rmw not in self.here else act.order

    def _act(self, place: int, act: Node) -> None:
        if act.kind == "UL":
            locks = self._later(place, "LKR")
            self._put("unlock-po", self.before[place], self.masks[place])
            self._put("unlock-lock", self.masks[place], locks)
        elif act.kind == "LKR":
            self._put_after("lock-po", place)
            self._after_unlock_lock(place)
        tag = self.tag(act)
        if tag in _NO_ORDER:
            return
        if act.kind in ("F", "SRCU"):
            self._fence(tag, place)
            return
        partner = (Fact("happens", act.rmw),) if act.conditional else ()
        if tag == "acquire":
            self._put_after("acq-po", place, *partner)
        elif tag == "release":
            self._put_before("po-rel", place, *partner)
        elif tag == "mb":
            put = self._put_before if act.is_read else self._put_after
            put("mb", place, *partner)

    def _later(self, place: int, kind: str) -> Mask:
        acts = self.order.acts
        return sum(self.masks[k] for k in range(place + 1, len(acts)) if acts[k].kind == kind)

    def _after_unlock_lock(self, place: int) -> None:
        acts = self.order.acts
        for k in range(place + 1, len(acts)):
            if self.tag(acts[k]) == "after-unlock-lock":
                happens = Fact("happens", acts[k].id)
                self._put("lock-fence", self.masks[place], self.after[k], happens)
                return

    def _fence(self, tag: str, place: int) -> None:
        layout, act = self.layout, self.order.acts[place]
        before, after = self.before[place], self.after[place]
        put = partial(self._put)
        here = Fact("happens", act.id)
        match tag:
            case "mb":
                put("mb", before, after, here)
            case "rmb":
                reads = layout.reads & layout.returning
                put("rmb", before & reads, after & reads, here)
                put("rmb-from", before & reads, after & layout.returning, here)
                put("rmb-to", before & layout.returning, after & reads, here)
            case "wmb":
                put("wmb", before & layout.writes, after & layout.writes, here)
            case "sync-rcu" | "sync-srcu":
                put("gp", before, after, here)
            case "before-atomic":
                self._strengthen(place, range(place + 1, len(self.masks)), _is_rmw)
            case _:
                if tag in _ANCHORS:
                    self._strengthen(place, range(place - 1, -1, -1), _ANCHORS[tag])

    def _strengthen(self, place: int, where: range, anchors: Callable[[Node], bool]) -> None:
        """A fence that is a full one together with what it stands next to."""
        acts = self.order.acts
        group = -1  # of the nearest; each of its expression does
        for k in where:
            if group >= 0 and (not group or acts[k].group != group):
                return
            if anchors(acts[k]):
                group = acts[k].group
                self._around(place, k)

    def _around(self, place: int, anchor: int) -> None:
        """What the fence at ``place`` orders with the help of the access at ``anchor``."""
        act = self.order.acts[anchor]
        facts = Fact("happens", self.order.acts[place].id), Fact("happens", act.id)
        mask, index = self.masks[anchor], self.layout.index
        if anchor > place:
            self._put("mb", self.before[place], mask | self.after[anchor], *facts)
        else:
            self._put("mb", self.before[anchor] | mask, self.after[place], *facts)
        for a, b in self.forced:
            fact = Fact("forced", a, b)
            if anchor > place and a == act.id:
                self._put("mb", self.before[place], 1 << index[b], fact, *facts)
            elif anchor < place and b == act.id:
                self._put("mb", 1 << index[a], self.after[place], fact, *facts)


def _is_rmw(act: Node) -> bool:
    return act.rmw >= 0 and act.kind not in LOCK_KINDS


_ANCHORS: dict[str, Callable[[Node], bool]] = {
    "after-atomic": _is_rmw,
    "after-spinlock": lambda act: act.kind == "LKW",
    "after-srcu-read-unlock": lambda act: act.order == "srcu-unlock",
}
