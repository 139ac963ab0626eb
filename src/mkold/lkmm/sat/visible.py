"""Plain accesses over one execution: when they are coherent, and when they race.

A compiler may split, repeat or move a plain access, so its effects are known only between
ordering points around it ("pre-" and "post-bounded"). Two accesses to one word from different
threads, one of them a write and one plain, race unless ordered through those points: ``vis``
(visible to all) for a write, executes-before (``xbstar``) for a read.

A race is an order that is *not* there, so no rule makes one. What can be told is when a pair
does not race: for each pair that this execution orders, the facts by which it does.

Source: linux-kernel.cat ("Plain accesses and data races"); explanation.txt, "Plain
accesses and data races".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mkold.lkmm.sat.facts import Fact
from mkold.lkmm.sat.layout import bits
from mkold.lkmm.sat.relations import Closure, Rel, Seq, Step, masked

if TYPE_CHECKING:
    from mkold.lkmm.sat.causality import Causality
    from mkold.lkmm.sat.grace import Grace

MOST = 12
Pair = tuple[int, int]


class Visible:
    """plain-coherence and data races of the execution that ``causality`` is of."""

    def __init__(self, causality: Causality, grace: Grace) -> None:
        self.causality, self.grace, self.layout = causality, grace, causality.layout
        self.against: tuple[Step, Step] | None = None
        self.pairs = set(self._pre_race()) if self.layout.has_plain else set()
        if self.pairs:
            self._relations()

    def _pre_race(self) -> Iterator[Pair]:
        """Conflicting accesses of two threads, one plain; both ways round."""
        layout, causality = self.layout, self.causality
        by_word: dict[int, int] = {}
        for node, address in causality.candidate.address.items():
            if node in layout.index:
                by_word[address] = by_word.get(address, 0) | 1 << layout.index[node]
        plain, writes = layout.full & ~layout.marked, layout.writes
        for here in by_word.values():
            for a in bits(here if here & plain else 0):
                others = here & ~layout.own[a]
                if not plain >> a & 1:
                    others &= plain
                if not writes >> a & 1:
                    others &= writes
                for b in bits(others):
                    yield a, b

    def _relations(self) -> None:
        causality, layout = self.causality, self.layout
        union, optional, marked = causality.union, causality.optional, layout.marked
        rcu_fence = self.grace.fence()
        self.fence = union("fence", causality.fences_all, rcu_fence)
        strong = union("strong-fence", causality.strong, rcu_fence)
        rcu = causality.marked(rcu_fence)
        xb = Closure("xbstar", union("xb", causality.time, rcu, Seq("rb", causality.prop, rcu)))
        start = self._start()
        fenced = self._from(self.fence, start)
        strongly = causality.to(
            Seq("strong-xb", self._from(strong, start), optional(xb)), marked
        )
        left: Rel = causality.to(optional(fenced), marked)
        left = causality.to(
            Seq("w-post-bounded", left, optional(causality.rmw_sequence)), marked
        )
        seen: Rel = Seq("vis-cumul", left, optional(causality.cumul))
        seen = causality.to(Seq("vis-rfe", seen, optional(causality.rfe_marked)), marked)
        strong_marked = causality.marked(strong)
        everywhere = Seq("vis-xb", Seq("vis-strong", seen, strong_marked), optional(xb))
        inside = Seq("vis-here", seen, optional(causality.inside(xb)))
        visible = union(
            "vis", strongly, causality.to(everywhere, marked), causality.to(inside, marked)
        )
        w_before = optional(union("w-pre-bounded", causality.addr, self.fence))
        r_before = optional(union("r-pre-bounded", causality.addr, causality.nonrw_fence,
                                  causality.fence("rmb-from")))  # fmt: skip
        r_after = union("r-post-bounded", causality.nonrw_fence, causality.fence("rmb-to"))
        reached = causality.to(self._from(optional(r_after), start), marked)
        reached = causality.to(Seq("r-post-xb", reached, optional(xb)), marked)
        self.ww_vis = union("ww-vis", fenced, Seq("ww-vis", visible, w_before))
        self.wr_vis = union("wr-vis", fenced, Seq("wr-vis", visible, r_before))
        self.rw_xb = union("rw-xbstar", fenced, Seq("rw-xbstar", reached, w_before))

    def _start(self) -> int:
        """What is in a pair: rows are worked out for nothing else."""
        mask = 0
        for a, b in self.pairs:
            mask |= 1 << a | 1 << b
        return mask

    def _from(self, rel: Rel, mask: int) -> Rel:
        full = self.layout.full
        return masked(rel, [full if mask >> i & 1 else 0 for i in range(self.layout.n)])

    # -- judgements ---------------------------------------------------------------

    def coherent(self) -> bool:
        """wr-incoh, rw-incoh, ww-incoh: no order by fences contradicts rf, fr or co."""
        causality = self.causality
        bad: list[tuple[Step, Step]] = []
        for a, b in self.pairs:
            for rel, against in ((causality.rfe, self.rw_xb), (causality.fr, self.wr_vis),
                                 (causality.co, self.ww_vis)):  # fmt: skip
                if rel.has(a, b) and against.has(b, a):
                    bad.append(((rel, a, b), (against, b, a)))
        for edge, order in bad[:MOST]:
            causality.rules.tell(None, causality.reasons.of(edge, order))
        if bad:
            self.against = bad[0]
        return not bad

    def races(self) -> tuple[list[Pair], list[tuple[Pair, set[Fact]]]]:
        """Pairs of nodes that race, and those that don't with the facts that order them."""
        racing: list[Pair] = []
        fine: list[tuple[Pair, set[Fact]]] = []
        ids, reasons = self.layout.ids, self.causality.reasons
        if not self.pairs:
            return racing, fine
        found = self._found()
        for a, b in sorted(self.pairs):
            edge, orders = self._ways(a, b, found)
            if edge is None:
                continue
            for steps in orders:
                if all(rel.has(x, y) for rel, x, y in steps):
                    pair = min(ids[a], ids[b]), max(ids[a], ids[b])
                    fine.append((pair, reasons.of(edge, *steps)))
                    break
            else:
                racing.append((ids[a], ids[b]))
        return racing, fine

    def _found(self) -> Rel:
        """``co? ; rf``."""
        causality = self.causality
        return causality.union("co?;rf", causality.rf, Seq("co-rf", causality.co, causality.rf))

    def _ways(self, a: int, b: int, found: Rel) -> tuple[Step | None, list[list[Step]]]:
        """How a comes before b if it does, and the orders of which one must be there."""
        causality, marked = self.causality, self.layout.marked
        if causality.co.has(a, b):
            need: list[Step] = [(self.ww_vis, a, b)]
            if not marked >> a & 1:
                need.append((self.rw_xb, a, b))
            if not marked >> b & 1:
                need.append((self.wr_vis, a, b))
            return (causality.co, a, b), [need]
        if causality.fr.has(a, b):
            return (causality.fr, a, b), [[(self.rw_xb, a, b)]]
        if found.has(a, b):
            return (found, a, b), [[(self.wr_vis, a, b)], [(self.rw_xb, b, a)]]
        return None, []
