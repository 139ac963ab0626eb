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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product

from mkold.ir.nodes import evaluate_binary, evaluate_unary
from mkold.ir.program import Mem, Program
from mkold.lkmm.events import Decision
from mkold.lkmm.past import NOTHING, Pasts, Site, smallest, through, together
from mkold.lkmm.symbolic import Guard, Value, contradicts

MAX_DOMAIN = 1_024
MAX_STEPS = 4_000

# Words with their pasts; stored in a round, by address.
Words = dict[int, Pasts]
Stores = dict[int, Words]
Initial = Callable[[int], int]


class _Unknown(Exception):  # noqa: N818 - a signal, not an error
    """A read's word is needed that has not been chosen yet."""

    def __init__(self, read: int) -> None:
        self.read = read


class _TooLong(Exception):  # noqa: N818
    """The question takes too many steps."""


@dataclass(slots=True)
class Knowledge:
    """What one round learned about every thread, for the next."""

    stores: list[Stores] = field(default_factory=list)
    touched: list[set[int]] = field(default_factory=list)
    # Touched otherwise than by a plain or ONCE access at a known address.
    events: set[int] = field(default_factory=set)

    def of(self, thread: int) -> tuple[Stores, set[int]]:
        """What ``thread`` stored, and what it touched; both may be added to."""
        while len(self.stores) <= thread:
            self.stores.append({})
            self.touched.append(set())
        return self.stores[thread], self.touched[thread]

    def learn(self, found: Knowledge) -> bool:
        """Add what a round found; whether any of it was news."""
        news = not found.events <= self.events
        self.events |= found.events
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
        self.domains: dict[int, tuple[int, ...]] = {}
        self.pasts: dict[int, Words] = {}
        self.decisions: list[Decision] = []
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

    def others(self, thread: int, addresses: Iterable[int]) -> Words:
        """Words that threads other than ``thread`` store at one of ``addresses``."""
        found: Words = {}
        for address in addresses:
            for other, stores in enumerate(self.knowledge.stores):
                if other != thread:
                    for word, pasts in stores.get(address, {}).items():
                        found[word] = smallest((*found.get(word, ()), *pasts))
        return found

    def derive(self, value: Value, live: Guard, site: Site | None = None) -> Words | None:
        """The words that ``value`` may be with the pasts of each; None: too many to say.

        With ``site``, as words stored there: none that was stored there before.
        """
        if type(value) is int:
            return {value: NOTHING}
        search = _Search(self, live, value, set())
        try:
            search.run({}, {})
        except _TooLong:
            words = self._loosely(value, {})
            return None if words is None else dict.fromkeys(words, NOTHING)
        found: Words = {}
        for word, reads in search.ways:
            pasts = together([self.pasts[read][seen] for read, seen in reads])
            if site is not None:
                pasts = through(site, pasts)
            if pasts:
                found[word] = smallest((*found.get(word, ()), *pasts))
        return found

    def words(self, value: Value, live: Guard) -> set[int] | None:
        """Every word that ``value`` may be where ``live`` holds; None: too many to say."""
        if type(value) is int:
            return {value}
        found = self._search(value, live)
        return self._loosely(value, {}) if found is None else found

    def _loosely(self, value: Value, memo: dict[Value, set[int] | None]) -> set[int] | None:
        """As ``words``, each part by itself and guards not looked at: quick, and more."""
        if type(value) is int:
            return {value}
        if value[0] == "r":
            return set(self.domains[value[1]])
        if value not in memo:
            memo[value] = self._combined(value, memo)
        return memo[value]

    def _combined(self, value: Value, memo: dict[Value, set[int] | None]) -> set[int] | None:
        tag = value[0]
        parts = [self._loosely(part, memo) for part in value[2:]]
        if any(part is None for part in parts):
            return None
        sets = [part for part in parts if part is not None]
        if tag == "u":
            words = {evaluate_unary(value[1], a) for a in sets[0]}
        elif tag == "b":
            words = {evaluate_binary(value[1], a, b) for a, b in product(*sets)}
        else:
            words = sets[0] | sets[1]
        return words if len(words) <= MAX_DOMAIN else None

    def possible(self, guard: Guard) -> bool:
        """Whether some choice of words makes ``guard`` hold, or that takes too long to say."""
        return not contradicts(guard) and self._search(1, guard) != set()

    def _search(self, value: Value, live: Guard) -> set[int] | None:
        found: set[int] = set()
        search = _Search(self, live, value, found)
        try:
            search.run({}, {})
        except _TooLong:
            return None
        return found

    def truth(self, live: Guard, cond: Value) -> int | None:
        """1 or 0 if ``cond`` is surely so (not zero, zero) where ``live`` holds."""
        words = self.words(("b", "ne", cond, 0), live)
        if words is None or len(words) != 1:
            return None
        return next(iter(words))


# Words already known, by identity; what is known is kept alive with it.
Memo = dict[int, tuple[object, int]]


class _Search:
    """Chooses words for reads one at a time, only as far as the question needs them."""

    def __init__(self, oracle: Oracle, live: Guard, value: Value, found: set[int]) -> None:
        self.oracle, self.live, self.value, self.found = oracle, live, value, found
        self.steps = 0
        self.ways: list[tuple[int, tuple[tuple[int, int], ...]]] = []

    def run(self, chosen: dict[int, int], memo: Memo) -> None:
        """Add to ``found`` what the value is under every completion of ``chosen``."""
        self.steps += 1
        if self.steps > MAX_STEPS or len(self.found) > MAX_DOMAIN:
            raise _TooLong
        try:
            reading = _Reading(self.oracle, chosen, memo)
            if reading.holds(self.live):
                word = reading.word(self.value)
                self.found.add(word)
                self.ways.append((word, tuple(item for item in chosen.items() if item[0] >= 0)))
        except _Unknown as need:
            if need.read < 0:  # a free choice of which way to go
                options: tuple[int, ...] = (0, 1)
            else:
                options = self.oracle.domains[need.read]
            for word in options:
                chosen[need.read] = word
                self.run(chosen, dict(memo))
            del chosen[need.read]


class _Reading:
    """Evaluates under a partial choice; ``memo`` keeps what is settled, by identity."""

    def __init__(self, oracle: Oracle, chosen: Mapping[int, int], memo: Memo) -> None:
        self.oracle, self.chosen, self.memo = oracle, chosen, memo

    def word(self, value: Value) -> int:
        if type(value) is int:
            return value
        known = self.memo.get(id(value))
        if known is None:
            known = value, self._word(value)
            self.memo[id(value)] = known
        return known[1]

    def _word(self, value: Value) -> int:
        tag = value[0]
        if tag == "r":
            return self._chosen(value[1])
        if tag == "b":
            return evaluate_binary(value[1], self.word(value[2]), self.word(value[3]))
        if tag == "u":
            return evaluate_unary(value[1], self.word(value[2]))
        cond = self.holds(value[1]) if tag == "p" else self.word(value[1])
        return self.word(value[2] if cond else value[3])

    def _chosen(self, key: int) -> int:
        word = self.chosen.get(key)
        if word is None:
            raise _Unknown(key)
        return word

    def holds(self, guard: Guard) -> bool:
        if type(guard) is int:
            return bool(guard)
        known = self.memo.get(id(guard))
        if known is None:
            known = guard, int(self._holds(guard))
            self.memo[id(guard)] = known
        return bool(known[1])

    def _holds(self, guard: Guard) -> bool:
        tag = guard[0]
        if tag == "!":
            return not self.holds(guard[1])
        if tag == "&":
            return self.holds(guard[1]) and self.holds(guard[2])
        if tag == "|":
            return self.holds(guard[1]) or self.holds(guard[2])
        decision = self.oracle.decisions[guard[1]]
        if not self.holds(decision.guard):
            return False
        if decision.cond is None:
            return bool(self._chosen(-1 - guard[1]))
        return self.word(decision.cond) != 0
