"""Grace periods: rcu-link, rcu-order, and the axiom rcu.

A *link* joins two sections or grace periods: from a grace period, or from the lock of a
read-side section, to a grace period, or to the unlock of a section, by
``po? ; hb* ; pb* ; prop ; po``. ``rcu-order`` is every chain of links with at least as
many grace periods as sections; the axiom forbids one that a further link closes. For
SRCU, each pair of section and grace period that counts must name the same srcu_struct.

``irreflexive rb`` is "no ``rcu-order`` edge is closed by ``rcu-link``", by turning the
cycle until it starts at the section or grace period.

Source: linux-kernel.cat ("RCU"); explanation.txt, "RCU relations: rcu-link, rcu-gp,
rcu-rscsi, rcu-order, rcu-fence, and rb".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mkold.lkmm.model.base import Base
from mkold.lkmm.model.order import Order
from mkold.lkmm.model.relations import Rel, Rows, closure, keep, seq, union
from mkold.lkmm.model.srcu import srcu_cookies
from mkold.lkmm.paths.ordering import Section, is_memory
from mkold.lkmm.paths.paths import Act

Threads = Mapping[int, Sequence[Act]]


@dataclass(frozen=True, slots=True)
class Grace:
    """``link`` and ``order`` are over the numbers of ``sections``, not of events.

    ``reach`` is ``hb* ; pb*``, ``threads`` each thread's events in program order.
    """

    sections: Sequence[Section]
    threads: Threads
    reach: Rel
    prop: Rel
    link: Rel
    order: Rel

    def violations(self) -> int:
        """Executions in which a chain with enough grace periods is closed by a link."""
        bad = 0
        for i, j, mask in self.order.pairs():
            bad |= mask & self.link.get(j, i)
        return bad


def grace_periods(base: Base, order: Order, rows: int) -> Grace | None:
    """The sections and grace periods in ``rows``, and their order; None: no grace period."""
    sections = [section for ordering in base.orderings for section in ordering.sections]
    if not rows or not any(section.grace for section in sections):
        return None
    threads = {
        thread: acts for ordering in base.orderings for thread, acts in ordering.threads.items()
    }
    masks = [rows] * len(sections)
    for section, mask in _srcu_sections(base, threads):
        sections.append(section)
        masks.append(mask)
    reach, prop = closure("hb*;pb*", order.time), order.propagation.prop
    rows_of: Rows = {}
    for i, start in enumerate(sections):
        reached = _after(_after(_accesses(start, threads, rows), reach), prop)
        row = {}
        for j, stop in enumerate(sections):
            mask = _linked(start, stop, threads, reached, rows) & masks[i] & masks[j]
            if mask:
                row[j] = mask
        if row:
            rows_of[i] = row
    link = Rel("rcu-link", rows_of)
    return Grace(sections, threads, reach, prop, link, _orders(sections, link, rows))


def _srcu_sections(base: Base, threads: Threads) -> list[tuple[Section, int]]:
    """SRCU sections depend on where the lock's cookie went."""
    if not any(act.order == "srcu-unlock" for act in base.acts.values()):
        return []
    place = {act.id: index for acts in threads.values() for index, act in enumerate(acts)}
    found = []
    for a, b, mask in srcu_cookies(base).pairs():
        lock, unlock = base.acts[a], base.acts[b]
        orders = (lock.order, unlock.order)
        if orders == ("srcu-lock", "srcu-unlock") and lock.address == unlock.address:
            section = Section(lock.thread, place[a], place[b], lock.address, False, a, b)
            section.end_thread = unlock.thread
            found.append((section, mask))
    return found


def _accesses(start: Section, threads: Threads, rows: int) -> dict[int, int]:
    """``po?`` to marked accesses, from a grace period or a section's lock."""
    acts = threads[start.thread]
    begin = start.start if is_memory(acts[start.start]) else start.start + 1
    return {act.id: rows for act in acts[begin:] if is_memory(act) and act.marked}


def _linked(
    start: Section, stop: Section, threads: Threads, reached: Mapping[int, int], rows: int
) -> int:
    """Where what ``start`` reaches is before ``stop`` in program order."""
    mask = 0
    if stop.end_thread == start.thread and start.start < stop.end:
        mask = rows
    for act in threads[stop.end_thread][: stop.end]:
        mask |= reached.get(act.id, 0)
    return mask


def _orders(sections: Sequence[Section], link: Rel, rows: int) -> Rel:
    def counts(i: int, j: int) -> bool:
        """Whether one is a grace period for the other, a section."""
        a, b = sections[i], sections[j]
        return a.grace != b.grace and a.place == b.place

    alone: Rows = {i: {i: rows} for i, section in enumerate(sections) if section.grace}
    pairs = keep("rcu-order", link, counts)
    order = union("rcu-order", Rel("rcu-order", alone), pairs)
    while True:
        linked = seq("rcu-order", link, order)
        around = keep("rcu-order", seq("rcu-order", linked, link), counts)
        grown = union("rcu-order", order, around, seq("rcu-order", order, linked))
        if grown.rows == order.rows:
            return order
        order = grown


def _after(reached: dict[int, int], rel: Rel) -> dict[int, int]:
    """``reached``, and all that ``rel`` leads to from it."""
    result = dict(reached)
    for a, mask in reached.items():
        for b, other in rel.rows.get(a, {}).items():
            both = mask & other
            if both:
                result[b] = result.get(b, 0) | both
    return result
