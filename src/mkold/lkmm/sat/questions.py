"""What is asked of a program's executions, one question after the other on one solver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mkold.ir.program import And, Compare, Formula, Not, Observed, Or, Program
from mkold.lkmm.sat.breaking import Breaking
from mkold.lkmm.sat.cookies import Cookies
from mkold.lkmm.sat.flags import Flags
from mkold.lkmm.sat.hangs import Hangs
from mkold.lkmm.sat.races import Races
from mkold.lkmm.sat.search import Allowed, Search
from mkold.lkmm.sat.solver import FALSE, TRUE, Lit, Model
from mkold.lkmm.sat.waiting import Cut

MOST_STRAYS = 16  # words that accesses may go astray to, before that is all that is said

State = tuple[int, ...]
# What is wrong only where a thread has come to its end.
OF_ENDS = frozenset({"unmatched-rcu-lock", "unmatched-srcu-lock"})


class Questions:
    """Of one search."""

    def __init__(self, program: Program, search: Search) -> None:
        self.program, self.search = program, search
        self.formula, self.modes = search.formula, search.modes
        modes = self.modes
        self.ended = (modes.whole, modes.unkept, modes.tame)
        self.breaking = Breaking(self.formula)
        self.sorted = self.breaking.sorted
        self._lits: dict[str, Lit] | None = None
        self._races: Races | None = None
        if program.filter is not None:
            self.formula.add([-modes.whole, self.satisfies(program.filter)])

    # -- what was foreseen --------------------------------------------------------

    def strays(self) -> set[int]:
        """Words, not among those foreseen, that an access may go to; not many of them."""
        formula, found = self.formula, set[int]()
        wild = sorted(formula.wild.items())
        first: list[Lit] = []
        for node, lit in wild:
            mine = formula.solver.new()
            formula.add([-mine, lit])
            for other, elsewhere in wild:  # what follows a stray access may be anything
                if self._follows(other, node):
                    formula.add([-mine, -elsewhere])
            first.append(mine)
        query = self.search.query(first)
        while len(found) < MOST_STRAYS:
            allowed = self.search.allowed(query, self.modes.unkept, self.sorted)
            if allowed is None:
                break
            for (node, _), mine in zip(wild, first, strict=True):
                if allowed.model.holds(mine):
                    bits = formula.circuit.value(formula.graph.nodes[node].addr)
                    word = allowed.model.word(bits)
                    found.add(word)
                    formula.add([-query, -mine, -formula.words.is_word(bits, word)])
        return found

    def _follows(self, node: int, other: int) -> bool:
        one, two = self.formula.graph.nodes[node], self.formula.graph.nodes[other]
        return one.thread == two.thread and one.po < two.po

    def cuts(self, *, endless: bool = True) -> list[Cut]:
        """Loops that some execution takes past their bounds, each once.

        Empty only if there are none; but not each that there is may be among them.
        ``endless``: also those that nothing leads out of, which no final state has behind it.
        """
        found: dict[int, Cut] = {}
        lits = [(cut, lit) for cut, lit in self.modes.cut_lits
                if lit != FALSE and not cut.poisoned
                and (endless or not cut.endless)]  # fmt: skip
        while True:
            rest = [lit for cut, lit in lits if cut.loop not in found]
            if not rest:
                break
            asked = self.search.query(rest), self.modes.unkept, self.modes.tame, self.sorted
            allowed = self.search.allowed(*asked, slices=1 if found else None)
            if allowed is None:
                break
            found |= {cut.loop: cut for cut, lit in lits if allowed.model.holds(lit)}
        return list(found.values())

    # -- final states -------------------------------------------------------------

    def states(self) -> Iterator[State]:
        """Every final state; of those that differ in which thread is which, one is searched."""
        observed = self.program.observed
        self.watch()
        query, breaks = self.formula.solver.new(), self.breaking.renames(observed)
        seen: set[State] = set()
        while True:
            order = self.sorted if breaks else TRUE
            allowed = self.search.allowed(*self.ended, query, order)
            if allowed is None:
                break
            state = self.state_of(allowed.model)
            try:
                alike = self.breaking.alike(state, observed) if breaks else [state]
            except KeyError:  # from here on each is searched
                alike, breaks = [state], False
            for one in alike:
                if one not in seen:
                    seen.add(one)
                    self._not_again(query, one)
                    yield one
        self.formula.solver.add([-query])

    def _not_again(self, query: Lit, state: State) -> None:
        self.formula.add([
            -query,
            *(
                -bit if word >> i & 1 else bit
                for word, place in zip(state, self.program.observed, strict=True)
                for i, bit in enumerate(self.formula.observe(place))
            ),
        ])  # fmt: skip

    def watch(self) -> None:
        """Have what is observed in every model from now on."""
        for place in self.program.observed:
            self.formula.observe(place)

    def state_of(self, model: Model) -> State:
        """What is observed at the end of an execution whose places were asked for before."""
        return tuple(model.word(self.formula.observe(p)) for p in self.program.observed)

    def satisfies(self, formula: Formula) -> Lit:
        """The final state satisfies ``formula``."""
        words = self.formula.words
        match formula:
            case Compare(op, left, right):
                a, b = self._side(left), self._side(right)
                return words.nonzero(words.binary(op, a, b))
            case Not(a):
                return -self.satisfies(a)
            case And(parts):
                return words.all(map(self.satisfies, parts))
            case Or(parts):
                return words.any(map(self.satisfies, parts))

    def _side(self, side: Observed | int) -> tuple[Lit, ...]:
        if isinstance(side, int):
            return self.formula.words.constant(side)
        return self.formula.observe(side)

    # -- what goes wrong ----------------------------------------------------------

    def flags(self, *, stopped: bool) -> Iterator[tuple[str, Allowed, tuple[int, int] | None]]:
        """Each flag with an execution that raises it, and of a race the two nodes.

        ``stopped``: threads may stand, or come to a loop's bound: what they do until then is
        a beginning of what they do.
        """
        modes = self.modes
        assumed: tuple[Lit, ...] = modes.few, modes.tame, self.sorted
        if not stopped:
            assumed = modes.whole, *assumed
        left = {
            name: lit for name, lit in self._flags()
            if lit != FALSE and not (stopped and name in OF_ENDS)
        }  # fmt: skip
        while left:
            allowed = self.search.allowed(*assumed, self.search.query(left.values()))
            if allowed is None:
                break
            for name in [name for name, lit in left.items() if allowed.model.holds(lit)]:
                del left[name]
                yield name, allowed, None
        race = self._race(assumed)
        if race is not None:
            yield "data-race", *race

    def possible_flags(self) -> list[str]:
        """The flags that are not ruled out at first sight."""
        return [name for name, lit in self._flags() if lit != FALSE]

    def may_end_early(self) -> bool:
        """Whether some loop goes on for ever on paths that found freed memory alone."""
        return any(cut.poisoned and lit != FALSE for cut, lit in self.modes.cut_lits)

    def _flags(self) -> Iterable[tuple[str, Lit]]:
        if self._lits is None:
            found = {name: [lit] for name, lit in Flags(self.formula).lits.items()}
            for name, lit in Cookies(self.formula).flags():
                found.setdefault(name, []).append(lit)
            self._lits = {name: self.formula.words.any(lits) for name, lits in found.items()}
        return self._lits.items()

    def _race(self, assumed: tuple[Lit, ...]) -> tuple[Allowed, tuple[int, int]] | None:
        if self._races is None:
            self._races = Races(self.search)
        return self._races.find(assumed)

    def hang(self) -> Allowed | None:
        """An execution in which threads wait for ever."""
        hangs = Hangs(self.formula, self.modes)
        if hangs.lit == FALSE:
            return None
        modes = self.modes
        return self.search.allowed(hangs.lit, modes.unkept, modes.tame, self.sorted)
