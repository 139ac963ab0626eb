"""One case: build the program, ask the engine, name what breaks.

Two kinds of property are looked at. Those that hold for any code come back from the
engine as flags (``use-after-free``, ``data-race`` ...). Those that a scenario states
(``Setup.never``) are tests on final states: the engine lists every final state of the
watched words, and each is tested. For each broken property the engine is asked for one
execution that shows it.

Known limits: a loop is unrolled to a bound; where that bound was hit without a
counterexample, the case is ``undecided``, never ``holds``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from mkold import lkmm
from mkold.base.errors import LimitError, UnsupportedError
from mkold.check import door
from mkold.check.blame import users_code
from mkold.check.claim import Case, Claim
from mkold.check.end import End
from mkold.check.program import Built, build_case
from mkold.check.properties import PROPERTIES, WARNINGS
from mkold.check.setup import Never
from mkold.ir.program import And, Compare, Condition, Formula, Program
from mkold.lkmm import Execution, Status, Verdict

DEFAULT_TIMEOUT_S = 60.0
DEFAULT_UNROLL = 4


@dataclass(frozen=True, slots=True)
class About:
    """What a test of a final state looked at: addresses of words, results of threads."""

    words: frozenset[int]
    threads: frozenset[int]


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken property and an execution that shows it (if one could be shown).

    ``about`` is what the test of a bad final state looked at; None for a property of the
    execution itself.
    """

    property: str
    sentence: str
    state: tuple[int, ...]
    execution: Execution | None
    program: Program
    about: About | None = None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """``status`` is ``holds``, ``counterexample`` or ``undecided``; ``reason`` says why
    undecided. ``n_states`` final states were seen."""

    label: str
    decides: bool
    status: str
    breaches: tuple[Breach, ...]
    reason: str
    n_states: int
    n_threads: int
    cpu_s: float

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of the broken properties."""
        return tuple(breach.property for breach in self.breaches)


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """``verdict`` is ``holds``, ``refuted`` or ``undecided``."""

    claim: Claim
    cases: tuple[CaseResult, ...]

    @property
    def verdict(self) -> str:
        """By the claim's deciding cases alone."""
        wanted = "holds" if self.claim.asks == "always" else "counterexample"
        statuses = {case.status for case in self.cases if case.decides}
        if statuses == {wanted}:
            return "holds"
        return "undecided" if statuses <= {wanted, "undecided"} else "refuted"


def decide_claim(
    claim: Claim, *, timeout_s: float = DEFAULT_TIMEOUT_S, engine: str | None = None
) -> ClaimResult:
    """Decide every case of a claim; ``engine`` as for ``lkmm.decide``."""
    cases = tuple(decide_case(case, timeout_s=timeout_s, engine=engine) for case in claim.cases)
    return ClaimResult(claim, cases)


def decide_case(
    case: Case,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    unroll: int = DEFAULT_UNROLL,
    show: bool = True,
    engine: str | None = None,
) -> CaseResult:
    """Decide one case; ``show`` asks for an execution of each broken property.

    What the engine can't read, and a bound that it reached, make the case ``undecided``.

    Raises
    ------
    InputError : the scenario can't be built, or an edit finds no place
    """
    built = build_case(case)
    try:
        decides = partial(lkmm.decide, timeout_s=timeout_s, max_unroll=unroll, engine=engine)
        return _decided(case, built, decides, unroll=unroll, show=show)
    except (LimitError, UnsupportedError) as error:
        reason = " ".join(str(error).split())
    except RecursionError:
        reason = "the program is nested too deep"
    except MemoryError:
        reason = "memory ran out"
    n_threads = len(built.program.threads)
    return CaseResult(case.label, case.decides, "undecided", (), reason, 0, n_threads, 0.0)


def _decided(
    case: Case, built: Built, decides: Callable[..., Verdict], *, unroll: int, show: bool
) -> CaseResult:
    verdict = decides(built.program, witness=show)
    breaches = [
        *_flagged(case, built, verdict),
        *_final(case, built, verdict, decides if show else None),
    ]
    status, reason = _status(verdict, bool(breaches), unroll)
    return CaseResult(
        label=case.label,
        decides=case.decides,
        status=status,
        breaches=tuple(breaches),
        reason=reason,
        n_states=len(verdict.states),
        n_threads=len(built.program.threads),
        cpu_s=verdict.cpu_s,
    )


def _status(verdict: Verdict, broken: bool, unroll: int) -> tuple[str, str]:
    if broken:
        return "counterexample", ""
    if verdict.status is Status.TIMEOUT:
        return "undecided", "time or memory ran out"
    if verdict.assumed:
        return "undecided", f"nothing found, assuming that {'; '.join(verdict.assumed)}"
    if verdict.status is Status.BOUNDED:
        return "undecided", f"a loop ran past its bound of {unroll}"
    return "holds", ""


def _wanted(case: Case, name: str) -> bool:
    ignored = case.scenario.ignore | WARNINGS
    return name not in ignored and (not case.only or name in case.only)


def _flagged(case: Case, built: Built, verdict: Verdict) -> Iterator[Breach]:
    for flag in verdict.flags:
        if _wanted(case, flag):
            shown = verdict.flagged.get(flag)
            final = shown.final if shown else ()
            yield Breach(flag, PROPERTIES.get(flag, flag), final, shown, built.program)


def _final(
    case: Case, built: Built, verdict: Verdict, decides: Callable[..., Verdict] | None
) -> Iterator[Breach]:
    for never in built.setup.nevers:
        if not _wanted(case, never.name):
            continue
        bad = _first_bad(never, built, verdict)
        if bad is not None:
            state, about = bad
            shown = None
            if decides is not None:
                shown = _show_state(built, state, decides)
            yield Breach(never.name, never.sentence, state, shown, built.program, about)


def _first_bad(
    never: Never, built: Built, verdict: Verdict
) -> tuple[tuple[int, ...], About] | None:
    """A bad final state, and what its test looked at."""
    for state in verdict.states:
        end = end_of(built, state)
        with users_code(f"test of {never.name}", at=never.at):
            bad = door.answer(f"the test of {never.name}", never.test(end), at=never.at)
        if bad:
            return state, _about(built, end)
    return None


def _about(built: Built, end: End) -> About:
    threads = [thread.name for thread in built.program.threads]
    return About(
        frozenset(built.setup.watched[name] for name in end.seen),
        frozenset(threads.index(name) for name in end.heard),
    )


def end_of(built: Built, state: tuple[int, ...]) -> End:
    """A final state, by the scenario's names."""
    return built.end(dict(zip(built.program.observed, state, strict=True)))


def _show_state(
    built: Built, state: tuple[int, ...], decides: Callable[..., Verdict]
) -> Execution | None:
    """An allowed execution that ends in ``state``, or None if there is none."""
    program = replace(
        built.program, condition=Condition("exists", is_state(built.program, state))
    )
    return decides(program, states=False, flags=False, witness=True).witness


def is_state(program: Program, state: tuple[int, ...]) -> Formula:
    """The formula that holds in exactly this final state."""
    return And(
        tuple(
            Compare("eq", observed, word)
            for observed, word in zip(program.observed, state, strict=True)
        )
    )
