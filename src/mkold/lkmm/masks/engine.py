"""The engine ``masks``: every choice of paths, all of its executions at once.

Meant for litmus tests and small scenarios: it lists what there is, so that its work grows
with the number of executions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from mkold.ir.program import TRUE, Formula, Program
from mkold.lkmm.ask import Ask
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.graph.values import Constraint, found
from mkold.lkmm.known.words import MayValues, initial_word
from mkold.lkmm.masks.answers import Allowed, Answers
from mkold.lkmm.masks.candidates import Candidates
from mkold.lkmm.masks.listing import list_candidates
from mkold.lkmm.masks.locations import Location, pieces
from mkold.lkmm.masks.picture import draw_allowed, draw_forbidden, draw_incoherent
from mkold.lkmm.masks.valuations import add_states
from mkold.lkmm.model.axioms import Judgement, judge
from mkold.lkmm.paths.facts import Facts
from mkold.lkmm.paths.flags import may_fault, own_flags
from mkold.lkmm.paths.ordering import Ordering, order_path
from mkold.lkmm.paths.paths import Act, Path, unit_paths
from mkold.lkmm.paths.question import Narrowing, addresses
from mkold.lkmm.paths.supply import Choice, Supply
from mkold.lkmm.paths.unordered import NONE
from mkold.lkmm.tally import Tally
from mkold.lkmm.unroll import unroll
from mkold.lkmm.verdict import FAULTS, Verdict

MOST_WRITES, MOST_FREE = 6, 1 << 14  # of what is listed only to be shown
PIECE = 1 << 18  # candidates at once: masks of 32 KiB, so that the cache holds many


def decide(program: Program, ask: Ask, check: Callable[[], None]) -> Verdict:
    """Decide by listing candidates: see ``engines.Engine``."""
    graph = unroll(program, ask.max_unroll, check)
    may = MayValues(graph)
    units = [unit_paths(graph, unit, may, check) for unit in range(len(program.threads))]
    enumerator = Enumerator(graph, units, Tally(program, ask), check)
    enumerator.tally.comes_to(graph.nodes)
    enumerator.run()
    return enumerator.tally.verdict()


@dataclass(frozen=True, slots=True)
class Chosen:
    """One choice of paths, and what has to hold for them to be taken."""

    paths: Sequence[Path]
    acts: Mapping[int, Act]
    constraints: Sequence[Constraint]
    facts: Facts


class Enumerator:
    """Goes through the choices of ``units``' paths, and keeps the ``tally``."""

    def __init__(
        self,
        graph: Graph,
        units: Sequence[Sequence[Path]],
        tally: Tally,
        check: Callable[[], None],
    ) -> None:
        self.graph, self.units, self.tally, self.check = graph, units, tally, check
        self._asked = frozenset(addresses(graph.program))
        self._orderings: dict[Path, Ordering] = {}
        self._suspects: frozenset[Path] = frozenset()

    def run(self) -> None:
        """Fill the tally.

        Raises
        ------
        TimeoutError : time is up
        """
        program, ask = self.graph.program, self.tally.ask
        condition = program.condition
        formula = TRUE if condition is None else condition.formula
        every = ask.states or (condition is not None and condition.quantifier == "forall")
        narrow = None if every else formula
        if not ask.states:
            self._look_for_faults(formula)
        narrowing = Narrowing(self.graph, narrow, program.filter)
        for chosen in self._choices(narrowing):
            self._judge(chosen, formula, narrow)
            if self.tally.decided:
                return
        if ask.witness and self.tally.forbidden is None and not self.tally.yes:
            self._explain(narrowing, formula)

    def _look_for_faults(self, formula: Formula) -> None:
        """Look at all executions of paths that may have one, whatever is asked."""
        program = self.graph.program
        self._suspects = frozenset(
            path for paths in self.units for path in paths if may_fault(program, path)
        )
        if self._suspects:
            for chosen in self._choices(Narrowing(self.graph, None, program.filter)):
                if not self._suspects.isdisjoint(chosen.paths):
                    self._judge(chosen, formula, None)
                    if self.tally.flags & FAULTS:
                        return

    # -- choices ------------------------------------------------------------------

    def _choices(self, narrowing: Narrowing) -> Iterator[Chosen]:
        choices = [
            [
                (path, constraints)
                for path in paths
                if (constraints := narrowing.constraints(path)) is not None
            ]
            for paths in self.units
        ]
        supply = Supply(choices, partial(initial_word, self.graph), self.check)
        for choice in supply.choices():
            yield _chosen(choice, narrowing)

    def _locations(self, chosen: Chosen) -> list[Location]:
        apart = NONE.union(*(path.apart for path in chosen.paths))
        by_address: dict[int, list[Act]] = {address: [] for address in self._asked}
        for act in chosen.acts.values():
            if act.is_read or act.is_write:
                by_address.setdefault(act.address, []).append(act)
        return [
            Location(address, initial_word(self.graph, address), accesses, apart)
            for address, accesses in by_address.items()
        ]

    def _orders(self, paths: Sequence[Path]) -> list[Ordering]:
        """What each path orders, worked out once."""
        for path in paths:
            if path not in self._orderings:
                self._orderings[path] = order_path(path)
        return [self._orderings[path] for path in paths]

    # -- judging ------------------------------------------------------------------

    def _judge(self, chosen: Chosen, formula: Formula, narrow: Formula | None) -> None:
        locations = self._locations(chosen)
        if not all(location.fill(chosen.facts, self.check) for location in locations):
            return
        if any(path.cut for path in chosen.paths):
            self.tally.bounded = True
            return
        for part in pieces(locations, PIECE):
            self.check()
            candidates = list_candidates(chosen.acts, part, chosen.constraints)
            self.tally.n_candidates += candidates.n
            if candidates.rows:
                self._decide(chosen, candidates, formula, narrow)
                if narrow is not None and self.tally.decided:
                    return

    def _decide(
        self, chosen: Chosen, candidates: Candidates, formula: Formula, narrow: Formula | None
    ) -> None:
        answers = Answers(self.graph, chosen.paths, candidates)
        if self.graph.program.filter is not None:
            candidates.rows &= answers.satisfying(self.graph.program.filter)
        wanted = answers.satisfying(formula)
        if narrow is not None:
            candidates.rows &= wanted
        if candidates.rows:
            judged = judge(self._orders(chosen.paths), candidates, self._asked)
            self._collect(judged, answers, wanted)

    def _collect(self, judged: Judgement, answers: Answers, wanted: int) -> None:
        rows, tally = judged.rows, self.tally
        tally.yes |= bool(rows & wanted)
        tally.no |= bool(rows & ~wanted)
        if rows and tally.ask.states:
            columns = [answers.words(place) for place in self.graph.program.observed]
            add_states(tally.states, columns, rows, answers.candidates.n)
        if rows and (tally.ask.states or not self._suspects.isdisjoint(answers.paths)):
            allowed = Allowed(answers.candidates, rows)
            own = own_flags(self.graph.program, answers.paths, allowed)
            for flag, mask in (*judged.flags.items(), *own):
                here = mask & rows
                if here:
                    tally.raise_flag(
                        flag, partial(draw_allowed, judged, answers, here & -here, flag)
                    )
        if tally.ask.witness:
            self._draw(judged, answers, wanted)

    def _draw(self, judged: Judgement, answers: Answers, wanted: int) -> None:
        good = judged.rows & wanted
        if good and self.tally.witness is None:
            self.tally.witness = draw_allowed(judged, answers, good & -good)
        elif not good and self.tally.forbidden is None:
            self.tally.forbidden = draw_forbidden(judged, answers, wanted)

    def _explain(self, narrowing: Narrowing, formula: Formula) -> None:
        """Nothing satisfies the formula: show why, if so far there is no picture of it."""
        for chosen in self._choices(narrowing):
            locations = self._locations(chosen)
            if any(len(place.writes) > MOST_WRITES or len(place.reads) > MOST_WRITES
                   for place in locations):  # fmt: skip
                return
            if not all(location.fill_freely(chosen.facts) for location in locations):
                continue
            if math.prod(location.size() for location in locations) > MOST_FREE:
                return
            candidates = list_candidates(chosen.acts, locations, chosen.constraints)
            answers = Answers(self.graph, chosen.paths, candidates)
            wanted = answers.satisfying(formula) if candidates.rows else 0
            if wanted:
                judged = judge(self._orders(chosen.paths), candidates)
                self.tally.forbidden = draw_incoherent(judged, answers, wanted)
                if self.tally.forbidden is not None:
                    return


def _chosen(choice: Sequence[Choice], narrowing: Narrowing) -> Chosen:
    paths = [path for path, _ in choice]
    acts = {act.id: act for path in paths for act in path.acts}
    constraints = [c for path, extra in choice for c in (*path.constraints, *extra)]
    constraints += [
        Constraint(found(act.id), act.node.must)
        for act in acts.values()
        if act.node.must is not None
    ]
    return Chosen(paths, acts, constraints, Facts(constraints, narrowing.memory))
