"""Grace periods: rcu-link, rcu-order, and the axiom rcu, over one execution.

A *section* is a read-side critical section or a grace period, given by its first and last
event (for a grace period both are the same). Facts speak of these events: ``rcu-link`` leads
from a first to a last one, by ``po? ; hb* ; pb* ; prop ; po``; ``rcu-order`` from a last to a
first one, by chains of links with at least as many grace periods as sections; the axiom
forbids an order that one more link closes. ``section`` says that two events are the two ends
of one: a lock and its unlock, or a cookie of srcu_read_lock() that came to its unlock. For
SRCU, each section and grace period that count against one another name one srcu_struct.

A thread that stopped on the way (see ``hangs``) may stand in a section. If it goes on, its
unlock comes later still; if it never does, the grace period never ends. So what precedes the
stop is inside the section: it ends at an event of its own, after all others.

Source: linux-kernel.cat ("RCU"); explanation.txt, "RCU relations: rcu-link, rcu-gp,
rcu-rscsi, rcu-order, rcu-fence, and rb".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mkold.lkmm.graph.events import Node
from mkold.lkmm.sat.facts import Fact
from mkold.lkmm.sat.layout import bits
from mkold.lkmm.sat.relations import Base, Closure, Facts, Rel, Seq, Union

if TYPE_CHECKING:
    from mkold.lkmm.sat.causality import Causality

Pair = tuple[int, int]


def open_end(lock: int) -> int:
    """The number of the end of the section that ``lock`` begins and nothing ends."""
    return -2 - lock


@dataclass(frozen=True, slots=True)
class Section:
    """``first`` and ``last`` event, their places in their threads; ``srcu``: not plain RCU."""

    first: int
    last: int
    thread: int
    start: int
    end_thread: int
    end: int
    grace: bool
    srcu: bool


class Grace:
    """rcu-order of the execution that ``causality`` is of."""

    def __init__(self, causality: Causality) -> None:
        self.causality, self.rules = causality, causality.rules
        self.layout = causality.layout
        self.acts = {thread: path.acts for thread, path in causality.paths.items()}
        self.sections: list[Section] = []
        self.linked: set[Pair] = set()
        self.order: dict[Pair, list[Pair]] = {}  # with the links that make it
        self.closed: Pair | None = None

    def allowed(self) -> bool:
        """Whether the axiom rcu holds; if not, why is told."""
        if not any(n.order in ("sync-rcu", "sync-srcu") for p in self.acts.values() for n in p):
            return True
        for thread, acts in self.acts.items():
            self._rcu_sections(thread, acts)
        self._srcu_sections()
        if not any(section.grace for section in self.sections):
            return True
        self._link()
        self._chain()
        bad = [(i, j) for i, j in self.order if (j, i) in self.linked]
        for i, j in bad:
            last, first = self.sections[i].last, self.sections[j].first
            self.rules.tell(
                None, [Fact("rcu-order", last, first), Fact("rcu-link", first, last)]
            )
        if bad:
            self.closed = bad[0]
        return not bad

    # -- sections -----------------------------------------------------------------

    def _section(self, section: Section, facts: Facts) -> None:
        self.sections.append(section)
        self.rules.tell(Fact("section", section.first, section.last), facts)

    def _rcu_sections(self, thread: int, acts: list[Node]) -> None:
        opened: list[tuple[int, Node]] = []
        for place, act in enumerate(acts):
            if act.order in ("sync-rcu", "sync-srcu") and not act.is_read:
                section = Section(act.id, act.id, thread, place, thread, place, True,
                                  act.kind == "SRCU")  # fmt: skip
                self._section(section, (Fact("happens", act.id),))
            elif act.order == "rcu-lock":
                opened.append((place, act))
            elif act.order == "rcu-unlock" and opened:
                start, lock = opened.pop()
                section = Section(lock.id, act.id, thread, start, thread, place, False, False)
                self._section(section, self._between(lock, act))
        if thread in self.causality.candidate.stands:
            for start, lock in opened:
                facts = (Fact("stands", lock.id), *self._between(lock, None))
                section = Section(lock.id, open_end(lock.id), thread, start, thread, len(acts),
                                  False, False)  # fmt: skip
                self._section(section, facts)

    def _between(self, lock: Node, unlock: Node | None) -> Facts:
        """The lock, the unlock, and which others happen after the one, up to the other."""
        here = self.causality.candidate.happens
        facts = [Fact("happens", lock.id)]
        if unlock is not None:
            facts.append(Fact("happens", unlock.id))
        for act in self.layout.threads[lock.thread]:
            inside = act.po > lock.po and (unlock is None or act.po < unlock.po)
            if inside and act.order in ("rcu-lock", "rcu-unlock"):
                facts.append(Fact("happens" if act.id in here else "absent", act.id))
        return tuple(facts)

    def _srcu_sections(self) -> None:
        """A section for each unlock that a cookie came to."""
        layout, causality = self.layout, self.causality
        places = {n.id: (t, i) for t, acts in self.acts.items() for i, n in enumerate(acts)}
        for lock, unlock, facts in srcu_matches(causality):
            (thread, start), (end_thread, end) = places[lock], places[unlock]
            section = Section(lock, unlock, thread, start, end_thread, end, False, True)
            self._section(section, (*facts, Fact("happens", lock), Fact("happens", unlock)))
        if causality.candidate.stands:
            self._open_srcu_sections(layout.threads, places)

    def _open_srcu_sections(
        self, threads: dict[int, list[Node]], places: dict[int, Pair]
    ) -> None:
        """Cookies of threads that stand, and whose unlocks did not happen."""
        matched = {section.first for section in self.sections}
        for thread in self.causality.candidate.stands:
            unlocks = [n for n in threads[thread] if n.order == "srcu-unlock"]
            for lock in self.acts[thread]:
                if lock.order == "srcu-lock" and lock.id not in matched:
                    here = self.causality.candidate.happens
                    later = tuple(
                        Fact("happens" if u.id in here else "absent", u.id)
                        for u in unlocks if u.po > lock.po
                    )  # fmt: skip
                    section = Section(lock.id, open_end(lock.id), thread, places[lock.id][1],
                                      thread, len(self.acts[thread]), False, True)  # fmt: skip
                    facts = Fact("stands", lock.id), Fact("happens", lock.id), *later
                    self._section(section, facts)

    # -- links --------------------------------------------------------------------

    def _link(self) -> None:
        causality = self.causality
        reach = Closure("hb*pb*", causality.time)
        reach_, prop = causality.optional(reach), causality.optional(causality.prop)
        self.path = Seq("hb*pb*-prop", reach_, prop)
        for i, start in enumerate(self.sections):
            for j, stop in enumerate(self.sections):
                if self._linked(start, stop):
                    self.linked.add((i, j))

    def _linked(self, start: Section, stop: Section) -> bool:
        facts: set[Fact] = set()
        if not _in_order(start, stop):
            ends = self.ends(start, stop)
            if ends is None:
                return False
            a, b = ends
            ids = self.layout.ids
            facts |= self.causality.reasons.of((self.path, a, b))
            facts |= {Fact("happens", ids[a]), Fact("happens", ids[b])}
        here = [Fact("happens", event) for event in (start.first, stop.last) if event >= 0]
        self.rules.tell(Fact("rcu-link", start.first, stop.last), [*facts, *here])
        return True

    def ends(self, start: Section, stop: Section) -> Pair | None:
        """Where a link leaves its first thread and enters its last; None: it need not."""
        if _in_order(start, stop):
            return None
        layout = self.layout
        marked = layout.marked
        firsts = layout.of(self.acts[start.thread][start.start :]) & marked
        lasts = layout.of(self.acts[stop.end_thread][: stop.end])
        for a in bits(firsts):
            hit = self.path.rows[a] & lasts
            if hit:
                return a, next(bits(hit))
        return None

    # -- order --------------------------------------------------------------------

    def _counts(self, i: int, j: int) -> Facts | None:
        """The facts by which one is a grace period for the other, a section."""
        one, two = self.sections[i], self.sections[j]
        if one.grace == two.grace or one.srcu != two.srcu:
            return None
        facts = (Fact("section", one.first, one.last), Fact("section", two.first, two.last))
        if not one.srcu:
            return facts
        address = self.causality.candidate.address
        if address[one.first] != address[two.first]:
            return None
        return (*facts, Fact("same", *sorted((one.first, two.first))))

    def _chain(self) -> None:
        """All of rcu-order, each by the rule that found it first."""
        todo: list[Pair] = []

        def put(i: int, j: int, links: list[Pair], *facts: Fact) -> None:
            if (i, j) not in self.order:
                self.order[i, j] = links
                self.rules.tell(self._ordered(i, j), facts)
                todo.append((i, j))

        for i, section in enumerate(self.sections):
            if section.grace:
                put(i, i, [], Fact("section", section.first, section.last))
        for i, j in self.linked:
            counts = self._counts(i, j)
            if counts is not None:
                put(i, j, [(i, j)], *counts, self._link_fact(i, j))
        while todo:
            i, j = todo.pop()
            links = self.order[i, j]
            for a, b, facts in self._around(i, j):
                put(a, b, [(a, i), *links, (j, b)], self._ordered(i, j), *facts)
            for (a, b), more in list(self.order.items()):
                if (j, a) in self.linked:
                    facts = self._ordered(i, j), self._link_fact(j, a), self._ordered(a, b)
                    put(i, b, [*links, (j, a), *more], *facts)
                if (b, i) in self.linked:
                    facts = self._ordered(a, b), self._link_fact(b, i), self._ordered(i, j)
                    put(a, j, [*more, (b, i), *links], *facts)

    def chain(self, i: int, j: int) -> list[Pair]:
        """The links that lead from one section or grace period to another."""
        return self.order[i, j]

    def _around(self, i: int, j: int) -> Iterator[tuple[int, int, Facts]]:
        n = range(len(self.sections))
        for a in n:
            if (a, i) in self.linked:
                for b in n:
                    counts = self._counts(a, b) if (j, b) in self.linked else None
                    if counts is not None:
                        yield a, b, (*counts, self._link_fact(a, i), self._link_fact(j, b))

    def _ordered(self, i: int, j: int) -> Fact:
        return Fact("rcu-order", self.sections[i].last, self.sections[j].first)

    def _link_fact(self, i: int, j: int) -> Fact:
        return Fact("rcu-link", self.sections[i].first, self.sections[j].last)

    def fence(self) -> Rel:
        """rcu-fence: ``po ; rcu-order ; po?``."""
        layout = self.layout
        why: dict[Pair, Facts] = {}
        for i, j in self.order:
            first, last = self.sections[i], self.sections[j]
            before = layout.of(self.acts[first.end_thread][: first.end])
            after = layout.of(self.acts[last.thread][last.start :])
            for a in bits(before):
                for b in bits(after):
                    why.setdefault((a, b), (
                        self._ordered(i, j), Fact("happens", layout.ids[a]),
                        Fact("happens", layout.ids[b])))  # fmt: skip
        return Base("rcu-fence", layout.n, why)


def _in_order(start: Section, stop: Section) -> bool:
    """Whether one begins before the other ends in one thread."""
    return stop.end_thread == start.thread and start.start < stop.end


def srcu_matches(causality: Causality) -> Iterator[tuple[int, int, Facts]]:
    """srcu-rscs of linux-kernel.bell: a lock, an unlock that its cookie comes to, and why."""
    layout = causality.layout
    unlocks = causality.here & layout.mask(lambda n: n.order == "srcu-unlock")
    locks = causality.here & layout.mask(lambda n: n.order == "srcu-lock")
    if not unlocks or not locks:
        return
    passing = layout.mask(lambda n: n.order != "srcu-unlock")
    step = Seq(
        "srcu-carry-step", causality.to(causality.base_data, passing), causality.rf, named=False
    )
    carry = Closure("srcu-carry", step)
    cookie = Union(
        "srcu-rscs",
        (causality.base_data, Seq("srcu-cookie", carry, causality.base_data)),
        layout.n,
    )
    address = causality.candidate.address
    for a in bits(locks):
        for b in bits(cookie.rows[a] & unlocks):
            lock, unlock = layout.ids[a], layout.ids[b]
            if address[lock] == address[unlock]:
                same = Fact("same", *sorted((lock, unlock)))
                yield lock, unlock, (same, *causality.reasons.of((cookie, a, b)))
