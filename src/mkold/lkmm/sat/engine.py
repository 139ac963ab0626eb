"""The engine ``sat``: a solver chooses executions, the model's axioms are learnt.

First the program is unrolled, as far as needed: as long as some execution gets past a loop's
bound, that bound is raised, up to what is asked for; where none does, nothing was assumed.
Where an access may go to a word that was not foreseen, that word is one of memory from then
on. Then come the questions: the condition, final states, flags, hangs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from mkold.ir.meaning import expanded
from mkold.ir.program import TRUE, Formula, Program
from mkold.lkmm.ask import Ask
from mkold.lkmm.sat.front import Unrolled, new_thinker, unroll, unroll_plainly
from mkold.lkmm.sat.knowledge import Knowledge
from mkold.lkmm.sat.loops import FIRST_BOUND, Key
from mkold.lkmm.sat.picture import draw_allowed, draw_forbidden
from mkold.lkmm.sat.questions import MOST_STRAYS, Questions
from mkold.lkmm.sat.resting import waits
from mkold.lkmm.sat.search import Allowed, Search
from mkold.lkmm.sat.solver import Lit
from mkold.lkmm.sat.thin_air import is_left_out
from mkold.lkmm.sat.waiting import Cut
from mkold.lkmm.tally import THIN_AIR, Tally
from mkold.lkmm.verdict import FAULTS, CutLoop, Execution, Verdict

Check = Callable[[], None]
MOST_TURNS = 8  # rounds of a loop that others keep going, where fewer were asked for


def decide(program: Program, ask: Ask, check: Check) -> Verdict:
    """Decide by search: see ``engines.Engine``."""
    program = expanded(program)
    questions, cuts = prepare(program, ask, check)
    answers = _Answers(questions, Tally(program, ask, sees_waiting=True))
    answers.tally.comes_to(questions.formula.graph.nodes)
    answers.tally.bounded = bool(cuts)
    answers.tally.cuts = tuple({CutLoop(cut.at, cut.rounds): None for cut in cuts})
    answers.run()
    return answers.tally.verdict()


def prepare(program: Program, ask: Ask, check: Check) -> tuple[Questions, list[Cut]]:
    """A formula of all executions, and the loops whose bound some execution still hits."""
    knowledge, thinker = Knowledge(), new_thinker(check)
    bounds: dict[Key, int] = {}
    most: dict[Key, int] = {}
    while True:
        made = unroll(program, bounds, check, knowledge, thinker)
        search = Search(made, check)
        questions = Questions(program, search)
        cuts = questions.cuts(endless=ask.hangs)
        for cut in cuts:
            most.setdefault(cut.loop, max(ask.max_unroll, _turns(made, cut)))
        if not _raise(bounds, most, (cut.loop for cut in cuts)):
            strays = set[int]()
            if len(knowledge.strays) < MOST_STRAYS:
                strays = questions.strays() - knowledge.strays
            if not strays:
                return questions, cuts
            knowledge.strays |= strays
        search.solver.close()


def _turns(made: Unrolled, cut: Cut) -> int:
    """Rounds of a loop that goes on only where another thread has written to what it reads.

    A retry loop ends by itself where the others do; how often they write is not known, but
    about, while they are unrolled for the first time.
    """
    read = {place for node in cut.reads for place in made.places.get(node, ())}
    writes = sum(
        not read.isdisjoint(made.places.get(node.id, ()))
        for node in made.graph.nodes
        if node.is_write and node.thread != cut.thread
    )
    return min(MOST_TURNS, 1 + writes)


def _raise(bounds: dict[Key, int], most: Mapping[Key, int], loops: Iterable[Key]) -> bool:
    """Raise the bounds of ``loops``, up to ``most``; whether any was."""
    raised = False
    for loop in loops:
        bound = bounds.get(loop, FIRST_BOUND)
        more = min(most[loop], bound + max(2, bound // 2))
        if more > bound:
            bounds[loop] = more
            raised = True
    return raised


class _Answers:
    """Puts the questions that ``tally.ask`` asks for, and keeps what is found."""

    def __init__(self, questions: Questions, tally: Tally) -> None:
        self.questions, self.tally = questions, tally
        self.search = questions.search
        self.program = tally.program
        questions.watch()

    def run(self) -> None:
        ask = self.tally.ask
        condition = self.program.condition
        wanted = self.questions.satisfies(TRUE if condition is None else condition.formula)
        forall = condition is not None and condition.quantifier == "forall"
        self._condition(wanted, both=ask.states or forall)
        if ask.states:
            self._states()
            self._hang()
            self._flags()
            if is_left_out(self.search, *self.questions.ended):
                self.tally.assumed.append(THIN_AIR)
        elif self._may_fault():
            self._flags()
        if ask.witness and not self.tally.yes:
            self.tally.forbidden = self._forbidden()
        self.tally.n_candidates = self.search.n_judged

    def _condition(self, wanted: Lit, *, both: bool) -> None:
        tally, ended = self.tally, self.questions.ended
        good = self.search.allowed(*ended, wanted)
        if good is not None:
            tally.yes = True
            if tally.ask.witness:
                tally.witness = self._draw(good)
        if both or good is None:
            tally.no = self.search.allowed(*ended, -wanted) is not None

    def _states(self) -> None:
        self.tally.states.add(self.questions.states())

    def _hang(self) -> None:
        found = self.questions.hang()
        if found is not None:
            self.tally.raise_flag("hang", partial(self._draw, found))

    def _flags(self) -> None:
        """Of whole executions; and where some are not, of those that stop on the way."""
        tally = self.tally
        ways = [False]
        if "hang" in tally.flags or tally.bounded or self.questions.may_end_early():
            ways.append(True)
        for stopped in ways:
            for flag, found, race in self.questions.flags(stopped=stopped):
                if flag not in tally.flags:
                    tally.raise_flag(flag, partial(self._draw, found, race))

    def _may_fault(self) -> bool:
        """Whether a flag may be raised that leaves every other answer without a meaning."""
        return not FAULTS.isdisjoint(self.questions.possible_flags())

    def _draw(self, found: Allowed, race: tuple[int, int] | None = None) -> Execution:
        final = self.questions.state_of(found.model)
        formula = self.questions.formula
        resting = waits(formula, self.questions.modes, found)
        return draw_allowed(formula, found.model, found.judge, final, race, resting)

    def _forbidden(self) -> Execution | None:
        """An execution that satisfies the condition but not the model."""
        condition, search = self.program.condition, self.search
        if condition is None:
            return None
        plain = unroll_plainly(self.program, search.check)
        for made, coherent in ((search.made, True), (search.made, False), (plain, False)):
            if made is not None:
                fresh = Search(made, search.check, coherent=coherent)
                drawn = _first_forbidden(Questions(self.program, fresh), condition.formula)
                fresh.solver.close()
                if drawn is not None:
                    return drawn
        return None


def _first_forbidden(questions: Questions, formula: Formula) -> Execution | None:
    """The first execution that satisfies ``formula`` but breaks an axiom."""
    search = questions.search
    asked = (*questions.ended, questions.satisfies(formula))
    questions.watch()
    while True:
        model = search.solver.solve(asked)
        if model is None:
            return None
        judge = search.judge(model)
        stands = search.formula.coherent or (judge.coherent() and judge.torn() is None)
        if stands and judge.allowed():
            return None
        final = questions.state_of(model)
        drawn = draw_forbidden(questions.formula, model, judge, final)
        if drawn is not None:
            return drawn
        search.teacher.teach()
