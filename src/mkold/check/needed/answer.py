"""What is needed: weaken each ordering primitive, decide again.

For every fence, acquire or release, ONCE mark, read-modify-write, read section, grace
period and lock that the cases exercise, each weaker form (``weaker``) is tried, the
weakest first, in every case that held before:

* ``not needed``: the weakest form will do in every case here;
* ``weaker would do``: some weaker form will do, and the weakest such is named;
* ``needed``: every weaker form breaks some case, which is named;
* ``undecided``: nothing broke, but some case could not be decided in time.

Cases whose edits change code are left out, so the answers speak of the source as it is;
build parameters (``Set``) may differ. A place counts as exercised where a case has an
event for it: accesses to words that only one thread touches are no events.

Known limits: one place at a time (two that back each other up are each "not needed");
"not needed" speaks of the given cases only; ``call_rcu`` is not weakened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from mkold.base.errors import Pos
from mkold.check.claim import Case, Claim
from mkold.check.decide import DEFAULT_UNROLL, decide_case
from mkold.check.needed.weaker import Weaker, weaker_forms
from mkold.check.program import build_case
from mkold.check.result import CaseResult
from mkold.ir.nodes import Function
from mkold.ir.variant import Drop, Set, Site, Split, Swap, sites
from mkold.lkmm.unroll import unroll


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
    each weaker form that was tried and does not do breaks first; ``n_cases`` cases
    exercise the place.
    """

    site: Site
    verdict: str
    form: str
    breaks: tuple[Break, ...]
    n_cases: int
    cpu_s: float


@dataclass(slots=True)
class _Held:
    """A case that holds as it is, and what of the source its events come from."""

    claim: str
    case: Case
    functions: dict[str, Function]
    exercised: set[Pos | None]
    cpu_s: float


@dataclass(slots=True)
class _Trial:
    site: Site
    forms: tuple[Weaker, ...]
    held: list[_Held] = field(default_factory=list)


def needed(
    claims: Iterable[Claim],
    *,
    timeout_s: float,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Need]:
    """Answers for every place that the claims' cases exercise, one at a time.

    Raises
    ------
    InputError, UnsupportedError : as ``decide_case``
    """
    trials: dict[str, _Trial] = {}
    for held in _cases_that_hold(claims, timeout_s, progress):
        found = list(sites(held.functions))
        for site in found:
            forms = weaker_forms(site, found)
            if forms and site.at in held.exercised:
                trial = trials.setdefault(site.name, _Trial(site, forms))
                trial.held.append(held)
    for n, trial in enumerate(trials.values(), 1):
        progress(f"{n}/{len(trials)} {trial.site.name}")
        yield _need(trial, timeout_s)


def _cases_that_hold(
    claims: Iterable[Claim], timeout_s: float, progress: Callable[[str], None]
) -> list[_Held]:
    """Cases of the source as it is that hold, the quickest first."""
    held = []
    for claim, case in _distinct(claims):
        progress(f"{claim.name}: {case.label}, as it is")
        result = decide_case(case, timeout_s=timeout_s, show=False)
        if result.status == "holds":
            program = build_case(case).program
            events = unroll(program, DEFAULT_UNROLL).nodes
            functions = dict(program.functions)
            exercised = {node.at for node in events}
            held.append(_Held(claim.name, case, functions, exercised, result.cpu_s))
    return sorted(held, key=lambda one: one.cpu_s)


def _distinct(claims: Iterable[Claim]) -> list[tuple[Claim, Case]]:
    """Each question once; one about some properties gives way to one about all."""
    found: dict[tuple[object, ...], tuple[Claim, Case]] = {}
    for claim in claims:
        for case in claim.cases:
            if all(isinstance(edit, Set) for edit in case.edits):
                found.setdefault((id(case.scenario), case.edits, case.only), (claim, case))
    return [
        one for key, one in found.items() if not key[2] or (*key[:2], frozenset()) not in found
    ]


def _need(trial: _Trial, timeout_s: float) -> Need:
    """Try the forms of one place, the weakest first."""
    breaks: list[Break] = []
    cpu_s, unsure = 0.0, False
    site, n_cases = trial.site, len(trial.held)
    for index, form in enumerate(trial.forms):
        broken, late, cpu = _try(trial, form, timeout_s)
        cpu_s += cpu
        if broken is not None:
            breaks.append(broken)
        elif late:
            unsure = True
        else:
            verdict = "not needed" if index == 0 else "weaker would do"
            return Need(site, verdict, form.label, tuple(breaks), n_cases, cpu_s)
    verdict = "undecided" if unsure else "needed"
    return Need(site, verdict, site.prim, tuple(breaks), n_cases, cpu_s)


def _try(trial: _Trial, form: Weaker, timeout_s: float) -> tuple[Break | None, bool, float]:
    """What ``form`` breaks first; whether a case was not decided; the time it took."""
    cpu_s, late = 0.0, False
    for held in trial.held:
        result = _decide(held, form, timeout_s)
        cpu_s += result.cpu_s
        if result.status == "counterexample":
            blame = Break(form.label, held.claim, held.case.label, result.broken)
            return blame, late, cpu_s
        late |= result.status != "holds"
    return None, late, cpu_s


def _decide(held: _Held, form: Weaker, timeout_s: float) -> CaseResult:
    """Decide a case with the weaker form; parts of it in functions elsewhere don't matter."""
    edits = tuple(
        edit
        for edit in form.edits
        if isinstance(edit, Drop | Swap | Split)
        and edit.place.rpartition(":")[0] in held.functions
    )
    tried = replace(held.case, edits=(*held.case.edits, *edits), label=form.label)
    return decide_case(tried, timeout_s=timeout_s, show=False)
