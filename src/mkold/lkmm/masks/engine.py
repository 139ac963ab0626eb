"""The enumerating engine: every choice of paths, all of its executions at once.

Meant for litmus tests and small scenarios; ``search`` is for what is too large.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from mkold.ir.program import POISON, TRUE, Formula, Program
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.graph.values import Constraint, found
from mkold.lkmm.known.words import MayValues, initial_word
from mkold.lkmm.masks.candidates import Candidates
from mkold.lkmm.masks.locations import INIT, Facts, Location, pieces
from mkold.lkmm.masks.picture import draw_allowed, draw_forbidden, draw_incoherent
from mkold.lkmm.model.model import Model
from mkold.lkmm.paths import question
from mkold.lkmm.paths.ordering import Ordering, order_path
from mkold.lkmm.paths.paths import Act, Path, unit_paths
from mkold.lkmm.paths.question import Answers, Narrowing
from mkold.lkmm.paths.supply import Choice, Supply
from mkold.lkmm.paths.waiting import ring
from mkold.lkmm.states import StateSet
from mkold.lkmm.verdict import FAULTS, Execution, Observation, Status, Verdict

POISON_REACH = 1 << 16  # words behind POISON that count as an address made from it
MOST_WRITES, MOST_FREE = 6, 1 << 14  # of what is listed only to be shown
PIECE = 1 << 18  # candidates at once: masks of 32 KiB, so that the cache holds many


class Enumerator:
    """Decides one unrolled program.

    Parameters
    ----------
    states : list final states and flags; without, stop at the first answer
    witness : keep executions to show
    expired : whether time is up; asked between sets of candidates
    """

    def __init__(
        self,
        graph: Graph,
        *,
        states: bool,
        witness: bool,
        expired: Callable[[], bool],
    ) -> None:
        self.graph, self.program = graph, graph.program
        self.keep_states, self.keep_witness, self.expired = states, witness, expired
        self.may = MayValues(graph)
        self.units = [
            unit_paths(graph, unit, self.may, self.check)
            for unit in range(len(self.program.threads))
        ]
        self._asked = set(question.addresses(self.program))
        self.states = StateSet()
        self.flags: set[str] = set()
        self.yes = self.no = False
        self.n_candidates = 0
        self.bounded = False
        self.witness: Execution | None = None
        self.forbidden: Execution | None = None
        self.flagged: dict[str, Execution] = {}
        self._only_wanted = False

    def check(self) -> None:
        """Raise ``TimeoutError`` if time is up."""
        if self.expired():
            raise TimeoutError

    def run(self) -> None:
        """Fill the results.

        Raises
        ------
        TimeoutError : time is up
        """
        condition = self.program.condition
        formula = TRUE if condition is None else condition.formula
        if self.keep_states:
            self._sweep(None, formula, stop=False)
            stuck = not (self.yes or self.no or self.bounded)
            if stuck and self.program.filter is None:
                self.flags.add("deadlock")  # no execution comes to its end
            return
        self._look_for_faults(formula)
        if condition is not None and condition.quantifier == "forall":
            self._sweep(None, formula, stop=False)
            return
        self._sweep(formula, formula, stop=True)
        if not self.yes:
            self.no = True

    def _sweep(self, narrow: Formula | None, formula: Formula, *, stop: bool) -> None:
        self._only_wanted = narrow is not None
        narrowing = Narrowing(self.graph, narrow, self.program.filter)
        for choice in self._choices(narrowing):
            self._judge(choice, narrowing, formula, stop=stop)
            if stop and self.yes:
                return
        if self.keep_witness and self.forbidden is None and not self.yes:
            self._explain(narrowing, formula)

    def _look_for_faults(self, formula: Formula) -> None:
        """Look at all executions of paths that may have one."""
        suspects = {
            id(path)
            for paths in self.units
            for path in paths
            if any(flag in FAULTS for flag in self._dangers(path))
        }
        if not suspects:
            return
        narrowing = Narrowing(self.graph, None, self.program.filter)
        for choice in self._choices(narrowing):
            if any(id(path) in suspects for path, _ in choice):
                self._judge(choice, narrowing, formula, stop=False)
                if self.flags & FAULTS:
                    return

    def _dangers(self, path: Path) -> Iterator[str]:
        """Flags that ``path`` may raise by itself."""
        yield from (flag for flag, _ in path.checks)
        yield from _bad_addresses(path, self.program.words)

    def _choices(self, narrowing: Narrowing) -> Iterator[tuple[Choice, ...]]:
        choices = [
            [
                (path, constraints)
                for path in paths
                if (constraints := narrowing.constraints(path)) is not None
            ]
            for paths in self.units
        ]
        supply = Supply(choices, partial(initial_word, self.graph), self.check)
        return supply.choices()

    @staticmethod
    def _constraints(choice: Sequence[Choice], acts: Mapping[int, Act]) -> list[Constraint]:
        constraints = [c for path, extra in choice for c in (*path.constraints, *extra)]
        constraints += [
            Constraint(found(act.id), act.node.must)
            for act in acts.values()
            if act.node.must is not None
        ]
        return constraints

    def _judge(
        self,
        choice: tuple[Choice, ...],
        narrowing: Narrowing,
        formula: Formula,
        *,
        stop: bool,
    ) -> None:
        paths = [path for path, _ in choice]
        acts = {act.id: act for path in paths for act in path.acts}
        constraints = self._constraints(choice, acts)
        facts = Facts(constraints, narrowing.memory)
        locations = self._locations(acts)
        if not all(location.fill(facts, self.check) for location in locations):
            return
        if any(path.cut for path in paths):
            self.bounded = True
            return
        orderings = [_ordering(path) for path in paths]
        for part in pieces(locations, PIECE):
            self.check()
            candidates = Candidates(acts, part, constraints)
            self.n_candidates += candidates.n
            if candidates.rows:
                self._decide(paths, orderings, candidates, formula)
                if stop and self.yes:
                    return

    def _explain(self, narrowing: Narrowing, formula: Formula) -> None:
        """Nothing satisfies the formula: show why, if so far there is no picture of it."""
        for choice in self._choices(narrowing):
            paths = [path for path, _ in choice]
            acts = {act.id: act for path in paths for act in path.acts}
            constraints = self._constraints(choice, acts)
            facts = Facts(constraints, narrowing.memory)
            locations = self._locations(acts)
            if any(len(place.writes) > MOST_WRITES or len(place.reads) > MOST_WRITES
                   for place in locations):  # fmt: skip
                return
            if not all(location.fill_freely(facts) for location in locations):
                continue
            if math.prod(location.size() for location in locations) > MOST_FREE:
                return
            candidates = Candidates(acts, locations, constraints)
            answers = Answers(self.graph, paths, candidates)
            wanted = answers.where(formula) if candidates.rows else 0
            if wanted:
                model = Model([_ordering(path) for path in paths], candidates)
                self.forbidden = draw_incoherent(model, answers, wanted)
                if self.forbidden is not None:
                    return

    def _locations(self, acts: Mapping[int, Act]) -> list[Location]:
        by_address: dict[int, list[Act]] = {address: [] for address in self._asked}
        for act in acts.values():
            if act.is_read or act.is_write:
                by_address.setdefault(act.address, []).append(act)
        return [
            Location(address, initial_word(self.graph, address), accesses)
            for address, accesses in by_address.items()
        ]

    def _decide(
        self,
        paths: Sequence[Path],
        orderings: Sequence[Ordering],
        candidates: Candidates,
        formula: Formula,
    ) -> None:
        answers = Answers(self.graph, paths, candidates)
        if self.program.filter is not None:
            candidates.rows &= answers.where(self.program.filter)
        wanted = answers.where(formula)
        if self._only_wanted:
            candidates.rows &= wanted
        if candidates.rows:
            self._collect(Model(orderings, candidates, self._asked), answers, wanted)

    def _collect(self, model: Model, answers: Answers, wanted: int) -> None:
        rows, program = model.rows, self.program
        self.yes |= bool(rows & wanted)
        self.no |= bool(rows & ~wanted)
        if rows and self.keep_states:
            columns = [answers.words(place) for place in program.observed]
            self.states.add(columns, rows, answers.candidates.n)
            if "deadlock" not in self.flags and ring(answers.paths):
                self.flags.add("deadlock")
                if self.keep_witness:
                    self.flagged["deadlock"] = draw_allowed(model, answers, rows & -rows)
        for flag, mask in (*model.flags.items(), *self._checks(answers, rows)):
            mask &= rows
            if mask:
                self.flags.add(flag)
                if self.keep_witness and flag not in self.flagged:
                    self.flagged[flag] = draw_allowed(model, answers, mask & -mask, flag)
        if self.keep_witness:
            self._draw(model, answers, wanted)

    def _draw(self, model: Model, answers: Answers, wanted: int) -> None:
        good = model.rows & wanted
        if good and self.witness is None:
            self.witness = draw_allowed(model, answers, good & -good)
        elif not good and self.forbidden is None:
            self.forbidden = draw_forbidden(model, answers, wanted)

    def _checks(self, answers: Answers, rows: int) -> Iterator[tuple[str, int]]:
        candidates = answers.candidates
        for path in answers.paths:
            for flag, cond in path.checks:
                yield flag, rows & candidates.where(cond, None)
            for flag in _bad_addresses(path, self.program.words):
                yield flag, rows
        for read, words in candidates.reads.items():
            mask = words.get(POISON, 0) & rows
            if mask:
                init = candidates.rf.get(read, {}).get(INIT, 0)
                yield "use-before-init", mask & init
                yield "use-after-free", mask & ~init

    def observation(self) -> Observation:
        if not self.yes:
            return Observation.NEVER
        return Observation.SOMETIMES if self.no or not self.keep_states else Observation.ALWAYS


def _bad_addresses(path: Path, words: frozenset[int] | None) -> Iterator[str]:
    for act in path.acts:
        if act.address >= 0 and (act.is_read or act.is_write):
            if act.address == 0:
                yield "null-dereference"
            elif 0 <= act.address - POISON < POISON_REACH:
                yield "poison-address"
            elif words is not None and act.address not in words:
                yield "wild-access"


def _ordering(path: Path) -> Ordering:
    if path.static is None:
        path.static = order_path(path)
    assert isinstance(path.static, Ordering)
    return path.static


def enumerate_program(
    graph: Graph, *, states: bool, witness: bool, expired: Callable[[], bool]
) -> Verdict:
    """Decide by enumeration.

    Raises
    ------
    LimitError : too many candidates, paths or values for this engine
    TimeoutError : ``expired`` said so
    """
    program: Program = graph.program
    engine = Enumerator(graph, states=states, witness=witness, expired=expired)
    engine.run()
    observation = holds = None
    if program.condition is not None:
        observation = engine.observation()
        holds = {
            "exists": engine.yes,
            "~exists": not engine.yes,
            "forall": not engine.no,
        }[program.condition.quantifier]
    return Verdict(
        program.name,
        Status.BOUNDED if engine.bounded else Status.OK,
        observation,
        holds,
        engine.states.listed(),
        tuple(sorted(engine.flags)),
        n_candidates=engine.n_candidates,
        engine="enumerate",
        witness=engine.witness,
        forbidden=None if engine.witness else engine.forbidden,
        flagged=engine.flagged,
    )
