"""What is needed: weaken each ordering primitive, decide again.

For every fence, acquire or release, ONCE mark, read-modify-write, read section, grace
period and lock that the cases exercise, each weaker form (``weaker``) is tried, the
weakest first, in every case that held before (``held``):

* ``not needed``: the weakest form will do in every case here;
* ``weaker would do``: some weaker form will do, and the weakest such is named;
* ``needed``: every weaker form breaks some case, which is named;
* ``undecided``: nothing broke, but some case could not be decided; or every case leaves some
  property aside (``Scenario.ignore``), so that no form is proved to keep it.

A form will do only where each case was proved with it, all properties looked at. What could
not be decided is listed, for the forms as for the source as it is.

Cases whose edits change code are left out, so the answers speak of the source as it is;
build parameters (``Set``) may differ. A place counts as exercised where a case has an
event for it: accesses to words that only one thread touches are no events.

Known limits: one place at a time (two that back each other up are each "not needed");
"not needed" speaks of the given cases only; ``call_rcu`` is not weakened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from mkold.base.workers import Died, each, hard_limit
from mkold.check.claim import Case, Claim
from mkold.check.many import Limits, answer, dead
from mkold.check.needed.held import Held, Open, cases_as_they_are
from mkold.check.needed.weaker import Weaker, weaker_forms
from mkold.check.result import CaseResult
from mkold.ir.variant import Drop, Site, Split, Swap, sites


@dataclass(frozen=True, slots=True)
class Break:
    """A weaker form and what it breaks: ``broken`` properties of ``case`` of ``claim``."""

    form: str
    claim: str
    case: str
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Need:
    """The answer for one place.

    ``verdict`` is ``needed``, ``weaker would do``, ``not needed`` or ``undecided``;
    ``form`` the weakest form that does (``needed``: the primitive itself); ``breaks`` what
    each weaker form that was tried and does not do breaks first; ``open`` what was not
    decided; ``aside`` properties that every case leaves aside; ``n_cases`` cases exercise the
    place.
    """

    site: Site
    verdict: str
    form: str
    breaks: tuple[Break, ...]
    open: tuple[Open, ...]
    aside: tuple[str, ...]
    n_cases: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Answers:
    """The answer for each place, and the cases that could not be decided as they are.

    ``interrupted``: by the keyboard; there are answers for the places that were done by then.
    """

    needs: tuple[Need, ...]
    open: tuple[Open, ...]
    interrupted: bool = False


def needed(
    claims: Iterable[Claim],
    limits: Limits,
    progress: Callable[[str], None] = lambda text: None,
) -> Answers:
    """An answer for every place that the claims' cases exercise, one at a time."""
    held, left = cases_as_they_are(claims, limits, progress)
    trials: dict[str, _Trial] = {}
    for one in held:
        found = list(sites(one.functions))
        for site in found:
            forms = weaker_forms(site, found)
            if forms and site.at in one.exercised:
                trial = trials.setdefault(site.name, _Trial(site, forms))
                trial.held.append(one)
    interrupted = False
    try:
        _try_all([*trials.values()], limits, progress)
    except KeyboardInterrupt:
        interrupted = True
    done = [trial for trial in trials.values() if trial.done]
    return Answers(tuple(trial.need() for trial in done), tuple(left), interrupted)


@dataclass(slots=True)
class _Trial:
    """One place while its forms are tried: ``form`` in case ``at`` is next."""

    site: Site
    forms: tuple[Weaker, ...]
    held: list[Held] = field(default_factory=list)
    form: int = 0
    at: int = 0
    sure: bool = True  # every case so far was decided with this form
    does: Weaker | None = None
    breaks: list[Break] = field(default_factory=list)
    open: list[Open] = field(default_factory=list)
    cpu_s: float = 0.0

    @property
    def done(self) -> bool:
        return self.does is not None or self.form == len(self.forms)

    def take(self, result: CaseResult) -> None:
        """The next form in the next case gave ``result``."""
        form, held = self.forms[self.form], self.held[self.at]
        broken = tuple(name for name in result.broken if name not in held.broken)
        self.cpu_s += result.cpu_s
        self.at += 1
        if broken:
            self.breaks.append(Break(form.label, held.claim, held.case.label, broken))
        elif result.status in ("undecided", "error"):
            self.open.append(Open(form.label, held.claim, held.case.label, result.reason))
            self.sure = False
        if broken or self.at == len(self.held):
            if self.sure and not broken:
                self.does = form
            self.form, self.at, self.sure = self.form + 1, 0, True

    def need(self) -> Need:
        aside = frozenset.intersection(*(one.case.scenario.ignore for one in self.held))
        failed = {one.form for one in self.breaks}
        if self.does is not None and not aside:
            verdict = "not needed" if self.does is self.forms[0] else "weaker would do"
        elif all(form.label in failed for form in self.forms):
            verdict = "needed"
        else:
            verdict = "undecided"
        form = self.site.prim if self.does is None else self.does.label
        still = tuple(one for one in self.open if one.form not in failed)
        return Need(
            self.site, verdict, form, tuple(self.breaks), still, tuple(sorted(aside)),
            len(self.held), self.cpu_s,
        )  # fmt: skip


def _try_all(trials: list[_Trial], limits: Limits, progress: Callable[[str], None]) -> None:
    """Decide what has to be decided, a step of each place after the other."""
    steps = [
        (trial, form, held)
        for trial in trials
        for form in range(len(trial.forms))
        for held in range(len(trial.held))
    ]
    number = {(id(trial), form, held): i for i, (trial, form, held) in enumerate(steps)}
    cases = [_weakened(trial.held[held], trial.forms[form]) for trial, form, held in steps]
    todo = deque(number[id(trial), 0, 0] for trial in trials)
    results = each(
        partial(answer, limits=replace(limits, show=False)), cases, jobs=limits.jobs,
        hard_s=hard_limit(limits.timeout_s), memory_bytes=limits.memory_bytes, chunk=1,
        todo=todo,
    )  # fmt: skip
    n_done = 0
    for index, result in results:
        if isinstance(result, Died):
            result = dead(cases[index], result, limits.timeout_s)
        trial = steps[index][0]
        trial.take(result)
        n_done += trial.done
        progress(f"{n_done} of {len(trials)} places, {trial.site.name}")
        if not trial.done:
            todo.append(number[id(trial), trial.form, trial.at])


def _weakened(held: Held, form: Weaker) -> Case:
    """The case with the weaker form; parts in functions that it has not don't matter."""
    edits = tuple(
        edit
        for edit in form.edits
        if isinstance(edit, Drop | Swap | Split)
        and edit.place.rpartition(":")[0] in held.functions
    )
    return replace(held.case, edits=(*held.case.edits, *edits), label=form.label)
