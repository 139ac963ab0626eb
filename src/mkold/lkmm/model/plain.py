"""Plain accesses: when they are coherent, and when they race.

A compiler may split, repeat or move a plain access, so its effects are known only between
ordering points around it ("pre-" and "post-bounded"). Two accesses to one place from
different threads, one of them a write and one plain, race unless ordered through those
points: ``vis`` (visible to all) for a write, executes-before (``xbstar``) for a read.

Rows are worked out only from events that are in such a pair.

Source: linux-kernel.cat ("Plain accesses and data races"); explanation.txt, "Plain
accesses and data races".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mkold.lkmm.model.relations import Rel, Rows, closure, keep_inside, seq, union
from mkold.lkmm.paths.paths import Act
from mkold.lkmm.verdict import Axiom

if TYPE_CHECKING:
    from mkold.lkmm.model.model import Model

Vector = dict[int, int]


class Plain:
    """plain-coherence, data-race and mixed-accesses over all candidates of ``model``."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._pairs = self._pre_race()
        self._rows: dict[tuple[str, int], Vector] = {}

    def judge(self) -> None:
        """Take away incoherent executions; then raise the flags."""
        model = self.model
        self._mixed()
        if not self._pairs:
            return
        self._relations()
        self._incoherent()
        if model.rows:
            self._races()

    def _pre_race(self) -> set[tuple[int, int]]:
        """Conflicting accesses of two threads, one plain."""
        by_address: dict[int, list[Act]] = {}
        for act in self.model.acts.values():
            if act.is_read or act.is_write:
                by_address.setdefault(act.address, []).append(act)
        return {
            (a.id, b.id)
            for acts in by_address.values()
            if not all(act.marked for act in acts)
            for a in acts
            for b in acts
            if a.thread != b.thread
            and (a.is_write or b.is_write)
            and not (a.marked and b.marked)
        }

    # -- relations ----------------------------------------------------------------

    def _relations(self) -> None:
        model = self.model
        rcu_fence = self._rcu_fence()
        self.fence = union("fence", model.fence, rcu_fence)
        self.strong = union("strong-fence", model.strong_fence, rcu_fence)
        steps = [model.time]
        if rcu_fence:
            marked = model.both_marked("rcu-fence", rcu_fence)
            steps += [marked, seq("rb", model.prop, marked)]
        self.xb = closure("xbstar", union("xb", *steps))
        self.xb_int = keep_inside("xbstar", self.xb, model.thread)
        self.strong_marked = model.both_marked("strong-fence", self.strong)
        static = model._static
        self.r_before = union(
            "r-pre-bounded", model.addr, model.nonrw_fence, static("rmb", "rmb_from")
        )
        self.r_after = union("r-post-bounded", model.nonrw_fence, static("rmb", "rmb_to"))
        self.w_before = union("w-pre-bounded", model.addr, self.fence)

    def _rcu_fence(self) -> Rel:
        """rcu-fence: ``po ; rcu-order ; po?``."""
        grace = self.model.grace
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

    def _marked(self, vector: Vector) -> Vector:
        acts = self.model.acts
        return {a: mask for a, mask in vector.items() if acts[a].marked}

    def _vis(self, start: Vector) -> Vector:
        """vis: ``start`` marked; identity included."""
        model = self.model
        seen = _optionally(start, model.cumul)
        seen = self._marked(_optionally(seen, model.rfe_marked))
        everywhere = _optionally(_step(seen, self.strong_marked), self.xb)
        return _both(everywhere, _optionally(seen, self.xb_int))

    def row(self, relation: str, a: int) -> Vector:
        """One row of ``ww-vis``, ``wr-vis`` or ``rw-xbstar``."""
        key = relation, a
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = self._compute(relation, a)
        return found

    def _compute(self, relation: str, a: int) -> Vector:
        here = {a: self.model.rows}
        fenced = _step(here, self.fence)
        if relation == "rw-xbstar":
            left = self._marked(_optionally(here, self.r_after))
            reached = _optionally(left, self.xb)
            return _both(fenced, _optionally(self._marked(reached), self.w_before))
        bounded = self.w_before if relation == "ww-vis" else self.r_before
        strongly = self._marked(_optionally(_step(here, self.strong), self.xb))
        left = self._marked(_optionally(here, self.fence))
        left = _optionally(left, self.model.rmw_sequence)
        visible = self._marked(self._vis(self._marked(left)))
        return _both(fenced, _optionally(_both(strongly, visible), bounded))

    # -- judgements ---------------------------------------------------------------

    def _incoherent(self) -> None:
        """wr-incoh, rw-incoh, ww-incoh: order by fences contradicts rf, fr or co."""
        model = self.model
        for rel, against in (
            (model.rfe, "rw-xbstar"),
            (model.fr, "wr-vis"),
            (model.co, "ww-vis"),
        ):
            rows: Rows = {}
            bad = 0
            for a, b, mask in rel.pairs():
                if (a, b) in self._pairs:
                    wrong = mask & self.row(against, b).get(a, 0)
                    if wrong:
                        rows.setdefault(a, {})[b] = wrong
                        bad |= wrong
            if bad:
                model._forbid(Axiom.PLAIN_COHERENCE, bad, Rel(rel.name, rows))

    def _races(self) -> None:
        model = self.model
        acts = model.acts
        for a, b, mask in model.co.pairs():
            if (a, b) in self._pairs:
                fine = self.row("ww-vis", a).get(b, 0)
                if not acts[a].marked:
                    fine &= self.row("rw-xbstar", a).get(b, 0)
                if not acts[b].marked:
                    fine &= self.row("wr-vis", a).get(b, 0)
                self._race(a, b, mask & ~fine)
        rf = union("rf", model.rfe, model.rfi)
        for a, b, mask in union("co?;rf", rf, seq("co?;rf", model.co, rf)).pairs():
            if (a, b) in self._pairs:
                fine = self.row("wr-vis", a).get(b, 0) | self.row("rw-xbstar", b).get(a, 0)
                self._race(a, b, mask & ~fine)
        for a, b, mask in model.fr.pairs():
            if (a, b) in self._pairs:
                self._race(a, b, mask & ~self.row("rw-xbstar", a).get(b, 0))

    def _race(self, a: int, b: int, mask: int) -> None:
        mask &= self.model.rows
        if mask:
            self.model._flag("data-race", mask)
            self.model.races.append((a, b, mask))

    def _mixed(self) -> None:
        """A plain write next to a marked access of the same place, nothing between."""
        model = self.model
        if not any(a.is_write and not a.marked for a in model.acts.values()):
            return
        for ordering in model.orderings:
            apart = set(ordering.barrier)
            for acts in ordering.threads.values():
                accesses = [a for a in acts if a.is_read or a.is_write]
                for index, a in enumerate(accesses):
                    for b in accesses[index + 1 :]:
                        if (
                            a.address == b.address
                            and a.marked != b.marked
                            and (b if a.marked else a).is_write
                            and (a.id, b.id) not in apart
                        ):
                            model._flag("mixed-accesses", model.rows)


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
