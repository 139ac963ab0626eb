"""Who waits for what in an execution at rest, and who could have let him go on.

A thread that waits for a lock is told with who holds it; one that goes round a loop with the
words it looks at, and which write of another thread did not come or came too early; one that
waits for a grace period with the section that does not end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mkold.check.story.holding import held
from mkold.check.story.naming import Wording, at
from mkold.lkmm.verdict import Event, Execution, Wait

Where = Callable[[Event], str]


def carriers(execution: Execution) -> tuple[int, ...]:
    """The events that carry a hang: looks, what they find, and what is held meanwhile."""
    found = [event for wait in execution.waits for event in wait.events]
    sources = {e.target: e.source for e in execution.edges if e.relation == "rf"}
    found += [sources[i] for i in found if i in sources]
    for wait in execution.waits:
        found += [event.id for event in _in_the_way(execution, wait)]
    real = [i for i in dict.fromkeys(found) if execution.events[i].thread >= 0]
    return tuple(real)


def _in_the_way(execution: Execution, wait: Wait) -> Iterator[Event]:
    """What others, or the thread itself, hold that the wait is for."""
    for thread in range(len(execution.threads)):
        for event in held(execution, thread):
            if wait.kind == "lock":
                looks = (execution.events[i].address for i in wait.events)
                if event.order not in ("rcu-lock", "srcu-lock") and event.address in looks:
                    yield event
            elif wait.kind == "grace":
                section = "rcu-lock" if wait.address is None else "srcu-lock"
                same = wait.address is None or event.address == wait.address
                if event.order == section and same:
                    yield event


class Waiting:
    """Sentences about the waits of ``execution``; ``where`` gives an event's letter."""

    def __init__(self, execution: Execution, wording: Wording, where: Where) -> None:
        self.execution, self.wording, self.where = execution, wording, where
        self.names = execution.threads

    def told(self) -> Iterator[str]:
        """A sentence for each thread that is not done."""
        for wait in sorted(self.execution.waits, key=lambda wait: wait.thread):
            who = self.names[wait.thread]
            match wait.kind:
                case "lock":
                    yield f"{who} waits for ever for {self._lock(wait)}."
                case "grace":
                    yield f"{who} waits for ever for {self._grace(wait)}."
                case _:
                    yield f"{who} goes round the loop at {at(wait.at)} for ever: " + (
                        f"{self._loop(wait)}."
                    )

    def _lock(self, wait: Wait) -> str:
        looks = [self.execution.events[i] for i in wait.events]
        place = f"{self.wording.place(looks[0].address)} {self.where(looks[0])}"
        holders = list(_in_the_way(self.execution, wait))
        if not holders:
            return f"{place}, which is taken from the start, and nobody releases it"
        own = [event for event in holders if event.thread == wait.thread]
        if own:
            return f"{place}, which it holds itself since {self.where(own[0])}"
        said = [f"{self.names[e.thread]} holds {self.where(e)}" for e in holders]
        return f"{place}, which {' and '.join(said)}{self._ended(holders)}"

    def _grace(self, wait: Wait) -> str:
        what = "a grace period"
        if wait.address is not None:
            what += f" of {self.wording.place(wait.address)}"
        sections = list(_in_the_way(self.execution, wait))
        said = [
            f"its own section {self.where(event)}"
            if event.thread == wait.thread
            else f"{self.names[event.thread]}'s section {self.where(event)}"
            for event in sections
        ]
        ends = "does not end" if len(said) == 1 else "do not end"
        held_up = f", since {' and '.join(said)} {ends}" if said else ""
        return f"{what} ({at(wait.at)}){held_up}{self._ended(sections)}"

    def _ended(self, holders: list[Event]) -> str:
        """Of holders that wait for nothing: they are done."""
        waiting = {wait.thread for wait in self.execution.waits}
        if all(event.thread in waiting for event in holders):
            return ""
        return " and keeps at its end" if len(holders) == 1 else ", to the end"

    def _loop(self, wait: Wait) -> str:
        looks = {
            event.address: event
            for event in map(self.execution.events.__getitem__, wait.events)
            if event.kind == "R" and event.address is not None
        }
        said = [self._look(wait, event) for event in looks.values()]
        return "; ".join(said) or "it looks at nothing that another thread changes"

    def _look(self, wait: Wait, look: Event) -> str:
        place, value = self.wording.place(look.address), self.wording.value(look)
        text = f"it reads {place} = {value} {self.where(look)}"
        missed = [
            f"{self.names[one.thread]} would write it at {at(one.at)} and does not come to that"
            for one in wait.missed
            if one.address == look.address
        ]
        if missed:
            return f"{text}; {' and '.join(missed)}"
        source = next(
            (e.source for e in self.execution.edges
             if e.relation == "rf" and e.target == look.id), None
        )  # fmt: skip
        last = None if source is None else self.execution.events[source]
        if last is None or last.thread < 0:
            return f"{text}, and no thread writes it"
        others = [
            event
            for event in self.execution.events
            if event.address == look.address
            and event.kind == "W"
            and event.thread not in (-1, wait.thread)
            and event.id != last.id
        ]
        if last.thread == wait.thread and others:
            early = others[-1]
            return (
                f"{text}, which it wrote itself {self.where(last)} over the write of "
                f"{self.names[early.thread]} {self.where(early)}"
            )
        return f"{text}, and no thread writes it after {self.where(last)}"
