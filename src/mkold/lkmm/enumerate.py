"""The enumerating engine: every choice of paths, all of its executions at once.

Meant for litmus tests and small scenarios; ``search`` is for what is too large.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import product

from mkold.base.errors import LimitError
from mkold.ir.program import POISON, TRUE, Formula, Not, Program
from mkold.lkmm import question
from mkold.lkmm.candidates import INIT, Candidates
from mkold.lkmm.events import Graph
from mkold.lkmm.execution import Execution, Observation, Status, Verdict
from mkold.lkmm.model import Model
from mkold.lkmm.ordering import Ordering, order_path
from mkold.lkmm.paths import Path, unit_paths
from mkold.lkmm.picture import draw_allowed, draw_forbidden
from mkold.lkmm.question import Answers, Narrowing
from mkold.lkmm.values import MayValues, initial_word


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
            unit_paths(graph, unit, self.may) for unit in range(len(self.program.threads))
        ]
        self._asked = set(question.addresses(self.program))
        self.states: set[tuple[int, ...]] = set()
        self.flags: set[str] = set()
        self.yes = self.no = False
        self.n_candidates = 0
        self.bounded = False
        self.witness: Execution | None = None
        self.forbidden: Execution | None = None
        self.flagged: dict[str, Execution] = {}

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
            return
        if condition is not None and condition.quantifier == "forall":
            self._sweep(None, formula, stop=False)
            return
        self._sweep(formula, formula, stop=True)
        if not self.yes:
            self.no = True

    def _sweep(self, narrow: Formula | None, formula: Formula, *, stop: bool) -> None:
        narrowing = Narrowing(self.graph, narrow)
        choices = [
            [
                (path, constraints)
                for path in paths
                if (constraints := narrowing.constraints(path)) is not None
            ]
            for paths in self.units
        ]
        for choice in product(*choices):
            if self.expired():
                raise TimeoutError
            self._judge(choice, narrowing, formula)
            if stop and self.yes:
                return

    def _judge(
        self,
        choice: tuple[tuple[Path, list[question.Constraint]], ...],
        narrowing: Narrowing,
        formula: Formula,
    ) -> None:
        paths = [path for path, _ in choice]
        constraints = [c for path, extra in choice for c in (*path.constraints, *extra)]
        acts = [act for path in paths for act in path.acts]
        touched = {a.address for a in acts if a.is_read or a.is_write} | self._asked
        initial = {address: initial_word(self.graph, address) for address in touched}
        candidates = Candidates(acts, constraints, initial, narrowing.memory)
        if candidates.dead:
            return
        if any(path.cut for path in paths):
            self.bounded = True
            return
        self.n_candidates += candidates.n
        answers = Answers(self.graph, paths, candidates)
        if self.program.filter is not None:
            candidates.rows &= answers.where(self.program.filter)
        wanted = answers.where(formula)
        if not self.keep_states and narrowing.registers is not None:
            candidates.rows = wanted if wanted and narrowing is not None else candidates.rows
        if not candidates.rows:
            return
        model = Model([_ordering(path) for path in paths], candidates)
        self._collect(model, answers, wanted)

    def _collect(self, model: Model, answers: Answers, wanted: int) -> None:
        rows, program = model.rows, self.program
        self.yes |= bool(rows & wanted)
        self.no |= bool(rows & ~wanted)
        if rows and self.keep_states:
            self.states |= answers.states(rows, program.observed)
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


def _ordering(path: Path) -> Ordering:
    if path.static is None:
        path.static = order_path(path)
    assert isinstance(path.static, Ordering)
    return path.static


def enumerate_program(
    graph: Graph, *, states: bool, witness: bool, deadline: float | None
) -> Verdict:
    """Decide by enumeration.

    Raises
    ------
    LimitError : too many candidates, paths or values for this engine
    """

    def expired() -> bool:
        return deadline is not None and time.process_time() > deadline

    program: Program = graph.program
    engine = Enumerator(graph, states=states, witness=witness, expired=expired)
    try:
        engine.run()
    except TimeoutError:
        return Verdict(program.name, Status.TIMEOUT, engine="enumerate")
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
        tuple(sorted(engine.states)),
        tuple(sorted(engine.flags)),
        n_candidates=engine.n_candidates,
        engine="enumerate",
        witness=engine.witness,
        forbidden=None if engine.witness else engine.forbidden,
        flagged=engine.flagged,
    )


__all__ = ["Enumerator", "LimitError", "Not", "enumerate_program"]
