"""A counterexample in a few sentences, built from its execution alone.

Words of memory go by their names; addresses and large numbers are hexadecimal, never
negative. Letters are those of the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mkold.check.result import Breach
from mkold.check.story.anchors import anchors
from mkold.check.story.bounds import bounds
from mkold.check.story.cut import cut, kept
from mkold.check.story.holding import asleep
from mkold.check.story.naming import Wording, at
from mkold.check.story.order import in_time, thread_by_thread
from mkold.check.story.steps import rings
from mkold.check.story.waiting import Waiting
from mkold.check.story.words import NOTHING, Teller
from mkold.lkmm.naming import letter
from mkold.lkmm.verdict import Event, Execution

_REST = "Whoever is not done waits for ever."


@dataclass(frozen=True, slots=True)
class Story:
    """A counterexample cut down for a reader.

    Parameters
    ----------
    execution : the events that are left
    order : their numbers in the order to read them in; an order in time if ``timed``
    bad : the events that carry the property
    words : the sentences
    """

    execution: Execution
    order: tuple[int, ...]
    timed: bool
    bad: frozenset[int]
    wording: Wording
    words: tuple[str, ...]

    def letter(self, event: int) -> str:
        """The event's letter in the picture and the sentences."""
        return letter(self.order.index(event))


def stories(breaches: Iterable[Breach]) -> list[tuple[Breach, Story | None, int | None]]:
    """Each breach with its story; the number is that of an earlier one that shows it too.

    Data races come last: what they lead to tells more.
    """
    told: list[tuple[Breach, Story | None, int | None]] = []
    keys: dict[object, int] = {}
    for breach in sorted(breaches, key=lambda breach: breach.property == "data-race"):
        story = explain(breach)
        key = story and tuple((e.thread, e.kind, e.value, e.at) for e in story.execution.events)
        told.append((breach, story, keys.get(key) if key else None))
        keys.setdefault(key, len(told) - 1)
    return told


def race_words(story: Story | None) -> str:
    """The sentences that name the two accesses of a data race, and what does not order them."""
    if story is None or story.execution.race is None:
        return ""
    start = max(i for i, text in enumerate(story.words) if text.startswith(NOTHING))
    return " ".join(story.words[start:])


def explain(breach: Breach) -> Story | None:
    """What a breach's execution shows; None if there is no execution to show."""
    execution = breach.execution
    if execution is None:
        return None
    anchor = anchors(execution, breach.property, breach.about)
    numbers = sorted(kept(execution, anchor))
    short = cut(execution, anchor)
    bad = frozenset(numbers.index(event) for event in anchor.events)
    ring = rings(short)
    order = thread_by_thread(short) if ring else in_time(short)
    teller = Teller(short, order, bad, Wording(breach.program.symbols, short.events))
    words = [*(teller.untimed(ring) if ring else teller.timed())]
    words += _added(breach, execution, _Whole(teller, numbers))
    return Story(short, order, not ring, bad, teller.wording, tuple(words))


@dataclass(frozen=True, slots=True)
class _Whole:
    """Speaks of the whole execution in the words and letters of the part that is shown.

    ``numbers`` are the events shown, by their numbers in the whole.
    """

    teller: Teller
    numbers: list[int]

    def _shown(self, event: Event) -> Event | None:
        if event.id not in self.numbers:
            return None
        return self.teller.events[self.numbers.index(event.id)]

    def where(self, event: Event) -> str:
        shown = self._shown(event)
        return f"({at(event.at)})" if shown is None else self.teller.where(shown)

    def access(self, event: Event) -> str:
        shown = self._shown(event)
        if shown is None:
            return f"{event.prim} of {self.teller.wording.place(event.address)}"
        return self.teller.access(shown)


def _added(breach: Breach, execution: Execution, whole: _Whole) -> Iterator[str]:
    """What the whole execution says besides: who waits for what; what does not order a race."""
    if breach.property == "hang":
        waiting = Waiting(execution, whole.teller.wording, whole.where)
        yield from waiting.told() if execution.waits else [_REST]
    if breach.property == "sleep-in-atomic":
        waits = tuple(asleep(execution))
        sleeping = replace(execution, waits=waits)
        yield from Waiting(sleeping, whole.teller.wording, whole.where).told()
    if execution.race is not None:
        place = whole.numbers.index
        pair = sorted(execution.race, key=lambda i: whole.teller.order.index(place(i)))
        first, second = (execution.events[i] for i in pair)
        yield from bounds(execution, first, second, whole.access)
