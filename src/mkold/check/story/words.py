"""An execution in sentences.

Where program order and rf, co, fr fit an order in time, the sentences tell the events in
such an order, thread by thread. Where they do not, they say who saw what of whom before or
after, and which steps of a thread nothing orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest

from mkold.check.story.cut import orders
from mkold.check.story.holding import sleeps
from mkold.check.story.naming import Wording, at
from mkold.check.story.steps import COM
from mkold.ir.prims import PRIMS
from mkold.ir.program import POISON, POISONS
from mkold.lkmm.naming import is_poisoned, letter
from mkold.lkmm.verdict import Edge, Event, Execution

NOTHING = "Nothing orders"
_ACQUIRES = frozenset({"acquire", "mb"})
_RELEASES = frozenset({"release", "mb"})
_GRACE = frozenset({"sync-rcu", "sync-srcu"})
_TOLD = _GRACE | {"rcu-lock", "rcu-unlock"}


class Teller:
    """Puts one execution into words."""

    def __init__(
        self, execution: Execution, order: Sequence[int], bad: frozenset[int], wording: Wording
    ) -> None:
        self.execution, self.order, self.bad, self.wording = execution, order, bad, wording
        self.events = execution.events
        self._looks = {event for wait in execution.waits for event in wait.events}

    def timed(self) -> Iterator[str]:
        """The events in time, a sentence for each stretch of one thread."""
        told = [self.events[i] for i in self.order if self._is_told(self.events[i])]
        stretches = [list(part) for _, part in groupby(told, lambda event: event.thread)]
        for i, stretch in enumerate(stretches):
            start = "Then " if i else ""
            yield f"{start}{self._thread(stretch[0])} {_list(self._deeds(stretch))}."
        yield from self._missing_grace_period()
        yield from self._race()

    def untimed(self, ring: set[int]) -> Iterator[str]:
        """Who saw what before or after whom, and what nothing orders."""
        com = [edge for edge in self.execution.edges if edge.relation in COM]
        around = [edge for edge in com if {edge.source, edge.target} <= ring]
        yield "; ".join(self._seen(edge) for edge in around) + "."
        gaps = [*self._gaps(around)] or [*self._gaps(around, plain=True)]
        reason = f": {_list(gaps)}" if gaps else ""
        yield f"No order in time fits this with program order{reason}."
        rest = [self._seen(edge) for edge in com if edge not in around]
        if rest:
            yield "; ".join(rest) + "."
        yield from self._race()

    # -- parts of sentences --

    def _thread(self, event: Event) -> str:
        return self.execution.threads[event.thread]

    def where(self, event: Event) -> str:
        """The letter of an event, and its line."""
        name = letter(self.order.index(event.id))
        return f"({name}, {at(event.at)})" if event.at else f"({name})"

    def _is_told(self, event: Event) -> bool:
        """All but fences, and looks at what is waited for."""
        if event.id in self._looks:
            return False
        return event.kind != "F" or event.order in _TOLD or sleeps(event.prim)

    def _deeds(self, stretch: Sequence[Event]) -> list[str]:
        deeds, last, skip = [], "", -1
        halves = {e.source: e.target for e in self.execution.edges if e.relation == "rmw"}
        for event, after in zip_longest(stretch, stretch[1:]):
            if event.id == skip:
                continue
            verb, rest = self._deed(event)
            if after is not None and halves.get(event.id) == after.id:
                (verb, rest), skip = self._change(event, after), after.id
            deeds.append(rest if verb == last else f"{verb} {rest}")
            last = verb
        return deeds

    def _change(self, read: Event, write: Event) -> tuple[str, str]:
        """A read-modify-write as one deed."""
        values = (self.wording.value(event) for event in (read, write))
        letters = ", ".join(letter(self.order.index(event.id)) for event in (read, write))
        where = f"({letters}, {at(write.at)})" if write.at else f"({letters})"
        place, row = self.wording.place(read.address), PRIMS.get(read.prim)
        if row is not None and (row.holds is not None or row.leaves):
            return "takes" if row.holds is not None else "releases", f"{place} {where}"
        return "changes", f"{place} from {' to '.join(values)} {where}"

    def _deed(self, event: Event) -> tuple[str, str]:
        """Verb and object of what an event does."""
        place, value = self.wording.place(event.address), self.wording.value(event)
        where = self.where(event)
        if event.prim == "call_rcu" and event.kind in ("R", "W"):
            return ("posts", f"a callback {where}") if event.kind == "W" else ("starts", where)
        match event.kind, event.order:
            case _, "rcu-lock" | "srcu-lock":
                return "enters", f"{self._section(event)} {where}"
            case _, "rcu-unlock" | "srcu-unlock":
                return "leaves", f"{self._section(event)} {where}"
            case "F", _ if event.order not in _GRACE:
                return "may sleep", where
            case (("F" | "SRCU"), _):
                return "waits", f"for a grace period {where}"
            case "RL", _:
                state = "taken" if event.value else "free"
                return "looks at", f"{place}, which is {state} {where}"
            case (("LKR" | "LKW"), _):
                return "takes", f"{place} {where}"
            case (("UL" | "RU"), _):
                return "releases", f"{place} {where}"
            case "LF", _:
                return "finds", f"{place} taken {where}"
            case (("R" | "W"), _) if event.address is not None and is_poisoned(event.address):
                verb = "reads" if event.kind == "R" else "writes"
                return verb, f"{place} through a pointer that is POISON {where}"
            case "R", _ if event.value in POISONS:
                state = "which is freed" if self._freed(event) else "which nobody initialised"
                return "reads", f"{place}, {state} {where}"
            case "R", _:
                return "reads", f"{place} = {value} {where}"
            case _ if event.value == POISON:
                return "frees", f"{place} {where}"
            case _:
                return "writes", f"{place} = {value} {where}"

    def _section(self, event: Event) -> str:
        place = self.wording.place(event.address)
        return f"an SRCU section of {place}" if place else "an RCU section"

    def _freed(self, read: Event) -> bool:
        """By another thread, as an edge says, or by its own before."""
        if read.value != POISON:
            return False
        return any(
            e.relation == "rf" and e.target == read.id for e in self.execution.edges
        ) or any(
            e.kind == "W" and e.value == POISON and e.address == read.address
            and e.thread == read.thread and e.po < read.po
            for e in self.events
        )  # fmt: skip

    def _seen(self, edge: Edge) -> str:
        """One edge: who did what before or after whom."""
        source, target = self.events[edge.source], self.events[edge.target]
        other = " ".join(self._deed(target))
        if edge.relation == "rf" and target.kind == "R" and target.value not in POISONS:
            return f"{self._thread(target)} {other}, which {self._thread(source)} writes " + (
                self.where(source)
            )
        one = " ".join(self._deed(source))
        if edge.relation == "rf":
            return f"{self._thread(target)} {other} after {self._thread(source)} {one}"
        return f"{self._thread(source)} {one} before {self._thread(target)} {other}"

    def _gaps(self, around: Sequence[Edge], *, plain: bool = False) -> Iterator[str]:
        """Where the ring enters a thread and leaves it later, and nothing orders the two.

        A fence keeps plain accesses on their side, but what they read or write may be
        torn or read again; ``plain`` takes it that a fence does not order them.
        """
        leaves = sorted({edge.source for edge in around}, key=self.order.index)
        for i in sorted({edge.target for edge in around}, key=self.order.index):
            start = self.events[i]
            later = [e for e in map(self.events.__getitem__, leaves)
                     if e.thread == start.thread and e.po > start.po]  # fmt: skip
            loose = [e for e in later if not self._reaches(start, e, plain)]
            if loose:
                yield (
                    f"nothing in {self._thread(start)} orders {self.access(start)} with "
                    f"{_list([self.access(event) for event in loose], 'or')}"
                )

    def _reaches(self, a: Event, b: Event, plain: bool) -> bool:
        """Whether steps that something orders lead from ``a`` to ``b`` in their thread."""
        if self._ordered(a, b) and not (plain and "plain" in (a.order, b.order)):
            return True
        between = [e for e in self.events if e.thread == a.thread and a.po < e.po < b.po]
        return any(
            self._reaches(a, e, plain) and self._reaches(e, b, plain)
            for e in between
            if e.kind not in ("F", "SRCU")
        )

    def _ordered(self, a: Event, b: Event) -> bool:
        if a.address == b.address:
            return True
        for edge in self.execution.edges:
            direct = (edge.source, edge.target) == (a.id, b.id)
            if direct and (b.kind == "W" or not edge.relation.startswith("ctrl")):
                return True
        if a.order in _ACQUIRES or b.order in _RELEASES:
            return True
        between = (e for e in self.events if e.thread == a.thread and a.po < e.po < b.po)
        return any(
            e.kind in ("F", "SRCU") and orders(e.order, a.kind[-1:], b.kind[-1:])
            for e in between
        )

    def access(self, event: Event) -> str:
        """A read or write as a thing, with its letter."""
        noun = "read" if event.kind in ("R", "LKR", "RL") else "write"
        plain = "plain " if event.order == "plain" else ""
        place = self.wording.place(event.address)
        return f"the {plain}{noun} of {place} ({letter(self.order.index(event.id))})"

    def _missing_grace_period(self) -> Iterator[str]:
        """A section that reads what was freed with no grace period awaited."""
        readers = [e for e in self.events if e.order == "rcu-lock"]
        frees = [e for e in self.events if e.id in self.bad and e.value == POISON
                 and e.kind == "W"]  # fmt: skip
        for reader in readers[:1]:
            for free in frees[:1]:
                waits = any(e.order in _GRACE and e.thread == free.thread and e.po < free.po
                            for e in self.events)  # fmt: skip
                if free.thread != reader.thread and not waits:
                    yield (
                        f"{self._thread(free)} awaits no grace period before it frees "
                        f"{self.wording.place(free.address)}, so it does not wait for "
                        f"{self._thread(reader)}'s RCU section."
                    )

    def _race(self) -> Iterator[str]:
        if self.execution.race is None:
            return
        pair = sorted(self.execution.race, key=self.order.index)
        first, second = (self.events[i] for i in pair)
        yield (
            f"{NOTHING} {self.access(first)} in {self._thread(first)} and "
            f"{self.access(second)} in {self._thread(second)}."
        )


def _list(parts: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"
