"""Of executions that differ only in which thread is which, one is enough.

Threads that can be exchanged (``symmetry``) are put in order by the word that they write
first: whose first write of it comes earlier in coherence order comes first, who writes nothing
last. Any execution can be renamed into one that is so ordered. So a question that no exchange
changes is asked of these alone (``sorted``). Final states found there stand for all their
renamings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mkold.ir.program import Observed
from mkold.lkmm.graph.events import Node
from mkold.lkmm.sat.formula import Formula
from mkold.lkmm.sat.solver import TRUE, Lit
from mkold.lkmm.sat.symmetry import Exchange, exchanges

State = tuple[int, ...]
Move = list[tuple[int, dict[int, int] | None]]
MOST_ALIKE = 20_000  # renamings of one state


class Breaking:
    """``sorted``: the threads are in order; ``TRUE`` if none can be exchanged."""

    def __init__(self, formula: Formula) -> None:
        self.formula = formula
        self.exchanges: list[Exchange] = []
        self.sorted: Lit = TRUE
        if formula.graph.program.filter is not None:
            return
        found = list(exchanges(formula.made))
        for group in _groups(found):
            key = self._key(group, found)
            if key:
                self.exchanges += group
                if self.sorted == TRUE:
                    self.sorted = formula.solver.new()
                for exchange in group:
                    one, two = exchange.units
                    self._sort(one, two, key)

    def _of(self, units: Iterable[int]) -> Iterator[Node]:
        wanted, unit_of = set(units), self.formula.graph.unit_of_thread
        return (w for w in self.formula.writes if unit_of[w.thread] in wanted)

    def _writes(self, unit: int, place: int) -> list[Node]:
        return [w for w in self._of([unit]) if place in self.formula.at[w.id]]

    def _key(self, group: list[Exchange], every: list[Exchange]) -> int:
        """A word that no exchange moves and that all of a group write; 0 if there is none."""
        found: dict[int, int] = {}
        for write in self._of(group[0].units):
            for place in self.formula.at[write.id]:
                if all(exchange.stays(place) for exchange in every):
                    found[place] = found.get(place, 0) + 1
        units = {unit for exchange in group for unit in exchange.units}
        common = [place for place in found if all(self._writes(u, place) for u in units)]
        return max(common, key=lambda place: (found[place], -place), default=0)

    def _firsts(self, unit: int, place: int) -> list[tuple[Node, Lit]]:
        """Each write of the word, and where it is the unit's first."""
        words, none, found = self.formula.words, TRUE, []
        for write in sorted(self._writes(unit, place), key=lambda w: (w.thread, w.po)):
            happens = self.formula.at[write.id][place]
            found.append((write, words.both(happens, none)))
            none = words.both(none, -happens)
        return found

    def _sort(self, one: int, two: int, place: int) -> None:
        formula = self.formula
        before = formula.coherence.before
        mine = self._firsts(one, place)
        for write, first in self._firsts(two, place):
            ways = [formula.words.both(lit, before(w.id, write.id)) for w, lit in mine]
            formula.add([-self.sorted, -first, *ways])

    # -- states -------------------------------------------------------------------

    def renames(self, observed: tuple[Observed, ...]) -> bool:
        """Whether every renaming of what is observed is known."""
        try:
            for exchange in self.exchanges:
                _move(exchange, observed)
        except (KeyError, ValueError):
            return False
        return bool(self.exchanges)

    def alike(self, state: State, observed: tuple[Observed, ...]) -> list[State]:
        """All renamings of a state, itself included.

        Raises
        ------
        KeyError : a word has no renaming, or the states are too many
        """
        moves = [_move(exchange, observed) for exchange in self.exchanges]
        seen, waiting = {state}, [state]
        while waiting:
            one = waiting.pop()
            for move in moves:
                other = [0] * len(one)
                for word, (to, renaming) in zip(one, move, strict=True):
                    other[to] = word if renaming is None else renaming[word]
                found = tuple(other)
                if found not in seen:
                    seen.add(found)
                    waiting.append(found)
            if len(seen) > MOST_ALIKE:
                raise KeyError(state)
        return sorted(seen)


def _move(exchange: Exchange, observed: tuple[Observed, ...]) -> Move:
    """For each place the index of what takes its place, and how its words are renamed."""
    moves: Move = []
    for place in observed:
        to, renaming = exchange.observed(place)
        moves.append((observed.index(to), renaming))
    return moves


def _groups(found: list[Exchange]) -> list[list[Exchange]]:
    """Exchanges that hang together: each begins where the one before it ends."""
    groups: list[list[Exchange]] = []
    for exchange in found:
        one = next(iter(exchange.units))
        for group in groups:
            if list(group[-1].units)[1] == one:
                group.append(exchange)
                break
        else:
            groups.append([exchange])
    return groups
