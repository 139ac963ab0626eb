"""Solve, judge, tell why not, and again: the executions that the model allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mkold.lkmm.sat.facts import Rules
from mkold.lkmm.sat.fences import Fences
from mkold.lkmm.sat.formula import Formula
from mkold.lkmm.sat.front import Unrolled
from mkold.lkmm.sat.judge import Judge
from mkold.lkmm.sat.layout import Layout
from mkold.lkmm.sat.modes import Modes
from mkold.lkmm.sat.solver import Lit, Model, Solver
from mkold.lkmm.sat.teach import Teacher


class Allowed:
    """An allowed execution: the solver's ``model``, and the judge that allowed it."""

    __slots__ = ("judge", "model")

    def __init__(self, model: Model, judge: Judge) -> None:
        self.model, self.judge = model, judge


class Search:
    """The executions of ``made``, one at a time; what was learnt stays for every question."""

    def __init__(
        self, made: Unrolled, check: Callable[[], None], *, coherent: bool = True
    ) -> None:
        self.made, self.check = made, check
        self.solver = Solver(check)
        self.formula = Formula(made, self.solver, coherent=coherent)
        self.modes = Modes(self.formula)
        self.layout = Layout(made.graph)
        self.fences = Fences(self.layout)
        self.rules = Rules()
        self.teacher = Teacher(self.formula, self.modes, self.layout, self.rules)
        self.n_judged = 0
        self.thin_air = False  # an execution was left out for nothing else

    def allowed(self, *assumptions: Lit, slices: int | None = None) -> Allowed | None:
        """An execution in which the assumptions hold, and that the model allows.

        ``slices``: see ``Solver.solve``.
        """
        while True:
            model = self.solver.solve(assumptions, slices=slices)
            if model is None:
                return None
            self.check()
            judge = self.judge(model)
            coherent = not self.formula.coherence.lazy or judge.coherent()
            if coherent and judge.allowed():
                return Allowed(model, judge)
            self.thin_air |= judge.thin_air
            if not self.teacher.teach():
                raise AssertionError("an execution is forbidden for a reason already told")

    def judge(self, model: Model) -> Judge:
        """The judge of one execution."""
        self.n_judged += 1
        stands = frozenset(stop.thread for stop, lit in self.modes.stops() if model.holds(lit))
        return Judge(self.fences, self.formula.candidate(model, stands), self.rules)

    def query(self, lits: Iterable[Lit]) -> Lit:
        """A literal that asks for one of ``lits``; other clauses may ask more of it."""
        query = self.solver.new()
        self.solver.add([-query, *lits])
        return query
