"""What reads may find, known while a program is being unrolled.

Litmus tests are small enough to be unrolled blindly. Kernel Python is not: a page-table
walk in a loop has thousands of paths of which a handful can happen. So such a program is
unrolled several times. Each time, a read's *domain* is what its own thread stored there
last (or the initial word), and what the other threads stored there in the round before. A
branch that no choice from the domains can take is not followed; a read with one possible
word is that word; where no other thread stores, a read is what its thread stored last.

The domains only grow. Rounds stop when they no longer do, or when there were as many as
computed stores: then the domains cover every execution, since in an execution that the
model allows no value depends on itself, so it passed through each store at most once.

Words that only one thread ever touches, by plain or ONCE accesses at known addresses, are
kept like locals and make no events.

Known limits: what such a word's access would have ordered is not ordered, which can only
add outcomes; so can a branch judged possible because judging it took too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mkold.ir.program import Mem, Program
from mkold.lkmm.graph.events import Decision
from mkold.lkmm.graph.guards import Guard, cases, contradicts
from mkold.lkmm.graph.values import Value, binary, fold
from mkold.lkmm.known.chooser import MAX_DOMAIN, Chooser
from mkold.lkmm.known.objects import Objects
from mkold.lkmm.known.past import NOTHING, Past, Pasts, Site, smallest, through, together
from mkold.lkmm.known.search import TooLongError
from mkold.lkmm.known.words import EachByItself

# Words with their pasts; stored in a round, by address.
Words = dict[int, Pasts]
Stores = dict[int, Words]
Initial = Callable[[int], int]


@dataclass(slots=True)
class Knowledge:
    """What one round learned about every thread, for the next."""

    stores: list[Stores] = field(default_factory=list)
    touched: list[set[int]] = field(default_factory=list)
    # Thread and address of each store site that has but one address.
    sites: dict[Site, tuple[int, int]] = field(default_factory=dict)
    # Touched otherwise than by a plain or ONCE access at a known address.
    events: set[int] = field(default_factory=set)
    # Used as locks.
    locks: set[int] = field(default_factory=set)

    def of(self, thread: int) -> tuple[Stores, set[int]]:
        """What ``thread`` stored, and what it touched; both may be added to."""
        while len(self.stores) <= thread:
            self.stores.append({})
            self.touched.append(set())
        return self.stores[thread], self.touched[thread]

    def learn(self, found: Knowledge) -> bool:
        """Add what a round found; whether any of it was news."""
        news = not (found.events <= self.events and found.locks <= self.locks)
        self.events |= found.events
        self.locks |= found.locks
        self.sites |= found.sites
        for thread in range(len(found.stores)):
            stores, touched = self.of(thread)
            new_stores, new_touched = found.of(thread)
            news |= not new_touched <= touched
            touched |= new_touched
            for address, words in new_stores.items():
                known = stores.setdefault(address, {})
                for word, pasts in words.items():
                    merged = smallest((*known.get(word, ()), *pasts))
                    news |= merged != known.get(word)
                    known[word] = merged
        return news

    def shared(self, program: Program) -> set[int]:
        """Addresses whose accesses must be events."""
        seen: set[int] = set()
        shared = set(self.events)
        shared.update(place.address for place in program.observed if isinstance(place, Mem))
        for touched in self.touched:
            shared |= seen & touched
            seen |= touched
        return shared


class Oracle:
    """Answers for the round under way.

    ``domains`` maps read events to the words they may find; ``decisions`` is the graph's
    own growing list, through which guards speak of values.
    """

    def __init__(self, knowledge: Knowledge, program: Program) -> None:
        self.knowledge = knowledge
        self.shared = knowledge.shared(program)
        self.objects = Objects(program)
        self.domains: dict[int, tuple[int, ...]] = {}
        self.pasts: dict[int, Words] = {}
        self.decisions: list[Decision] = []
        self.chooser = Chooser(self.decisions, self.domains)
        self.round = Knowledge()

    def touch(self, thread: int, addresses: Iterable[int], *, event: bool) -> None:
        """``thread`` accesses one of ``addresses``; ``event``: not like a local."""
        self.round.of(thread)[1].update(addresses)
        if event:
            self.round.events.update(addresses)

    def store(self, thread: int, addresses: Iterable[int], words: Words) -> None:
        """``thread`` may store any of ``words`` at any of ``addresses``."""
        stores = self.round.of(thread)[0]
        for address in addresses:
            known = stores.setdefault(address, {})
            for word, pasts in words.items():
                known[word] = smallest((*known.get(word, ()), *pasts))

    def others(self, thread: int, addresses: set[int], passed: set[Site]) -> Words:
        """Words that threads other than ``thread`` store at one of ``addresses``.

        ``passed`` are the stores on the way here. A word that came through a later store of
        this thread to the same address is coherence-after that store, so it is not found.
        """
        found: Words = {}
        for address in addresses:
            for other, stores in enumerate(self.knowledge.stores):
                if other == thread:
                    continue
                for word, pasts in stores.get(address, {}).items():
                    left = [p for p in pasts if not self._later(p, thread, address, passed)]
                    if left:
                        found[word] = smallest((*found.get(word, ()), *left))
        return found

    def _later(self, past: Past, thread: int, address: int, passed: set[Site]) -> bool:
        """Whether ``past`` goes through a later store of ``thread``, at ``address`` alone."""
        places = [self.knowledge.sites.get(site) for site in past]
        if any(place is None or place[1] != address for place in places):
            return False
        here = thread, address
        return any(self.knowledge.sites[site] == here for site in past - passed)

    def derive(self, value: Value, live: Guard, site: Site | None = None) -> Words | None:
        """The words that ``value`` may be with the pasts of each; None: too many to say.

        With ``site``, as words stored there: none that was stored there before.
        """
        if isinstance(value, int):
            return {value: NOTHING}
        try:
            ways = self.chooser.ways(value, live)
        except TooLongError:
            words = self._loosely(value)
            return None if words is None else dict.fromkeys(words, NOTHING)
        found: Words = {}
        for word, reads in ways:
            pasts = together([self.pasts[read][seen] for read, seen in reads])
            if site is not None:
                pasts = through(site, pasts)
            if pasts:
                found[word] = smallest((*found.get(word, ()), *pasts))
        return found

    def words(self, value: Value, live: Guard) -> set[int] | None:
        """Every word that ``value`` may be where ``live`` holds; None: too many to say."""
        if isinstance(value, int):
            return {value}
        try:
            return {word for word, _ in self.chooser.ways(value, live)}
        except TooLongError:
            return self._loosely(value)

    def _loosely(self, value: Value) -> set[int] | None:
        """As ``words``, but guards are not looked at: quick, and more."""
        return fold(value, EachByItself(lambda read: set(self.domains[read]), MAX_DOMAIN), {})

    def possible(self, guard: Guard) -> bool:
        """Whether some choice of words makes ``guard`` hold, or that takes too long to say."""
        return any(
            not contradicts(case) and self.chooser.possible(case) for case in cases(guard)
        )

    def truth(self, live: Guard, cond: Value) -> int | None:
        """1 or 0 if ``cond`` is surely so (not zero, zero) where ``live`` holds."""
        words = self.words(binary("ne", cond, 0), live)
        if words is None or len(words) != 1:
            return None
        return next(iter(words))
