"""Grace periods: rcu-link, rcu-order, and the axiom rcu.

A *link* joins two sections or grace periods: from a grace period, or from the lock of a
read-side section, to a grace period, or to the unlock of a section, by
``po? ; hb* ; pb* ; prop ; po``. ``rcu-order`` is every chain of links with at least as
many grace periods as sections; the axiom forbids one that a further link closes. For
SRCU, each pair of section and grace period that counts must name the same srcu_struct.

Source: linux-kernel.cat ("RCU"); explanation.txt, "RCU relations: rcu-link, rcu-gp,
rcu-rscsi, rcu-order, rcu-fence, and rb".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mkold.lkmm.model.relations import Rel, Rows, closure, keep, seq, union
from mkold.lkmm.paths.ordering import Section, is_memory
from mkold.lkmm.paths.paths import Act

if TYPE_CHECKING:
    from mkold.lkmm.model.model import Model


class Grace:
    """rcu-order over the numbers of ``sections`` (not of events)."""

    def __init__(self, model: Model, sections: list[Section]) -> None:
        self.model = model
        self.sections = list(sections)
        self._masks = [model.rows] * len(sections)
        self.threads: dict[int, list[Act]] = {
            thread: acts
            for ordering in model.orderings
            for thread, acts in ordering.threads.items()
        }
        self._srcu()
        self.reach = closure("hb*;pb*", model.time)
        self.link = self._links()
        self.order = self._orders()

    def _srcu(self) -> None:
        """SRCU sections depend on where the lock's cookie went."""
        from mkold.lkmm.model.model import srcu_cookies

        model = self.model
        if not any(act.order == "srcu-unlock" for act in model.acts.values()):
            return
        places = {
            act.id: (thread, index)
            for thread, acts in self.threads.items()
            for index, act in enumerate(acts)
        }
        for a, b, mask in srcu_cookies(model).pairs():
            lock, unlock = model.acts[a], model.acts[b]
            if (
                lock.order == "srcu-lock"
                and unlock.order == "srcu-unlock"
                and lock.address == unlock.address
            ):
                section = Section(lock.thread, places[a][1], places[b][1],
                                  lock.address, False, a, b)  # fmt: skip
                section.end_thread = unlock.thread
                self.sections.append(section)
                self._masks.append(mask)

    def _links(self) -> Rel:
        model, threads = self.model, self.threads
        rows: Rows = {}
        for i, start in enumerate(self.sections):
            acts = threads[start.thread]
            begin = start.start if is_memory(acts[start.start]) else start.start + 1
            reached: dict[int, int] = {}
            for act in acts[begin:]:
                if is_memory(act) and act.marked:
                    reached[act.id] = model.rows
            reached = _after(reached, self.reach)
            reached = _after(reached, model.prop)
            row: dict[int, int] = {}
            for j, stop in enumerate(self.sections):
                mask = 0
                if stop.end_thread == start.thread and start.start < stop.end:
                    mask = model.rows
                for act in threads[stop.end_thread][: stop.end]:
                    mask |= reached.get(act.id, 0)
                mask &= self._masks[i] & self._masks[j]
                if mask:
                    row[j] = mask
            if row:
                rows[i] = row
        return Rel("rcu-link", rows)

    def _counts(self, i: int, j: int) -> bool:
        """Whether one is a grace period for the other, a section."""
        a, b = self.sections[i], self.sections[j]
        return a.grace != b.grace and a.place == b.place

    def _orders(self) -> Rel:
        rows: Rows = {i: {i: self.model.rows} for i, s in enumerate(self.sections) if s.grace}
        order = Rel("rcu-order", rows)
        pairs = keep("rcu-order", self.link, self._counts)
        order = union("rcu-order", order, pairs)
        while True:
            linked = seq("rcu-order", self.link, order)
            around = keep("rcu-order", seq("rcu-order", linked, self.link), self._counts)
            grown = union("rcu-order", order, around, seq("rcu-order", order, linked))
            if _same(grown.rows, order.rows):
                return order
            order = grown

    def violations(self) -> int:
        """Executions in which a chain with enough grace periods is closed by a link."""
        bad = 0
        for i, j, mask in self.order.pairs():
            bad |= mask & self.link.get(j, i)
        return bad


def _after(reached: dict[int, int], rel: Rel) -> dict[int, int]:
    """``reached``, and all that ``rel`` leads to from it."""
    result = dict(reached)
    for a, mask in reached.items():
        for b, other in rel.rows.get(a, {}).items():
            both = mask & other
            if both:
                result[b] = result.get(b, 0) | both
    return result


def _same(a: Rows, b: Rows) -> bool:
    return a == b
