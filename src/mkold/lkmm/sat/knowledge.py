"""What the rounds of unrolling learn: stores, touched words, and the sites of stores.

A thread is unrolled on what the others stored in the rounds before. What is known only
grows, and the last round adds nothing to it; so what it found covers every execution.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from mkold.ir.program import Mem, Program
from mkold.lkmm.sat.abstract import Abstract, join, widened

PATIENCE = 2  # rounds in which nothing grew but words, before pasts are forgotten
MORE_PATIENCE = 6  # ... before only their bits are known

Stores = dict[int, Abstract]


@dataclass(slots=True)
class Knowledge:
    """By thread, what it may store at each address, and which it touches.

    ``events`` are addresses touched otherwise than by a plain or ONCE access at a known
    place; ``looked_at``: touched otherwise than by taking and leaving a lock; ``locks``: used
    as locks; ``unordered``: written by operands of expressions; ``strays``: where an access
    was found to go astray; ``sites`` numbers the places of stores.
    """

    stores: list[Stores] = field(default_factory=list)
    touched: list[set[int]] = field(default_factory=list)
    events: set[int] = field(default_factory=set)
    looked_at: set[int] = field(default_factory=set)
    locks: set[int] = field(default_factory=set)
    unordered: set[int] = field(default_factory=set)
    strays: set[int] = field(default_factory=set)
    sites: dict[Hashable, int] = field(default_factory=dict)

    def of(self, thread: int) -> tuple[Stores, set[int]]:
        """What ``thread`` stored, and what it touched; both may be added to."""
        while len(self.stores) <= thread:
            self.stores.append({})
            self.touched.append(set())
        return self.stores[thread], self.touched[thread]

    def store(self, thread: int, addresses: Iterable[int], word: Abstract) -> None:
        """``thread`` may store ``word`` at any of ``addresses``."""
        stores = self.of(thread)[0]
        for address in addresses:
            known = stores.get(address)
            stores[address] = word if known is None else join(known, word)

    def others(self, thread: int, addresses: Sequence[int]) -> Abstract | None:
        """What threads other than ``thread`` store at one of ``addresses``.

        And ``thread`` itself, if it does so in no order with its other accesses.
        """
        found: Abstract | None = None
        for other, stores in enumerate(self.stores):
            for address in addresses:
                word = stores.get(address)
                if word is not None and (other != thread or address in self.unordered):
                    found = word if found is None else join(found, word)
        return found

    def site(self, place: Hashable) -> int:
        """The one bit that stands for a place of a store."""
        return 1 << self.sites.setdefault(place, len(self.sites))

    def learn(self, found: Knowledge, idle: int) -> bool:
        """Add what a round found; whether any of it was news.

        ``idle``: for so many rounds nothing grew but words; what goes on growing is widened.
        """
        news = False
        for known, new in ((self.events, found.events), (self.locks, found.locks),
                           (self.looked_at, found.looked_at),
                           (self.unordered, found.unordered)):  # fmt: skip
            news |= not new <= known
            known |= new
        for thread in range(len(found.stores)):
            stores, touched = self.of(thread)
            news |= not found.touched[thread] <= touched
            touched |= found.touched[thread]
            for address, word in found.stores[thread].items():
                before = stores.get(address)
                after = word if before is None else join(before, word)
                if before is not None and after != before and idle >= PATIENCE:
                    after = widened(before, after, pasts_only=idle < MORE_PATIENCE)
                if after != before:
                    stores[address] = after
                    news = True
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

    def words(self, program: Program) -> set[int]:
        """The words of memory that there are."""
        known = set(program.init) | set(program.symbols.values()) | self.events
        return known.union(*self.touched) - {0}
