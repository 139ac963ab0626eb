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

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePath

from mkold import lkmm
from mkold.base.errors import LimitError, Pos, UnsupportedError
from mkold.check import door
from mkold.check.blame import users_code
from mkold.check.claim import Case, Claim
from mkold.check.end import End
from mkold.check.program import Built, build_case
from mkold.check.properties import PROPERTIES, WARNINGS
from mkold.check.result import About, Breach, CaseResult, ClaimResult, Grounds, undecided
from mkold.check.setup import Never
from mkold.ir.nodes import Loop, walk
from mkold.ir.program import And, Compare, Condition, Formula, Program
from mkold.lkmm import Execution, Status, Verdict

DEFAULT_TIMEOUT_S = 60.0
DEFAULT_UNROLL = 4


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
    began = time.process_time()

    def decides(program: Program, **asked: bool) -> Verdict:
        left = timeout_s - (time.process_time() - began)
        return lkmm.decide(
            program, timeout_s=max(left, 0.0), max_unroll=unroll, engine=engine, **asked
        )

    n_threads = 0
    try:
        built = build_case(case)
        n_threads = len(built.program.threads)
        result = _decided(case, built, decides, show=show, timeout_s=timeout_s, unroll=unroll)
    except (LimitError, UnsupportedError) as error:
        result = undecided(case, " ".join(str(error).split()))
    except RecursionError:
        result = undecided(case, "the program is nested too deep")
    except MemoryError:
        result = undecided(case, "out of memory")
    return replace(result, n_threads=n_threads, cpu_s=time.process_time() - began)


def _decided(
    case: Case, built: Built, decides: Callable[..., Verdict], *, show: bool,
    timeout_s: float, unroll: int,
) -> CaseResult:  # fmt: skip
    verdict = decides(built.program, witness=show)
    breaches = [
        *_flagged(case, built, verdict),
        *_final(case, built, verdict, decides if show else None),
    ]
    result = CaseResult(
        case.label,
        case.decides,
        "counterexample" if breaches else "holds",
        tuple(breaches),
        n_states=len(verdict.states),
        grounds=_grounds(built.program, verdict, unroll),
    )
    if breaches:
        return result
    if verdict.status is Status.TIMEOUT:
        return undecided(case, f"no answer within {timeout_s:g} s")
    if verdict.assumed:
        reason = f"nothing found, assuming that {'; '.join(verdict.assumed)}"
        return replace(result, status="undecided", reason=reason)
    if verdict.status is Status.BOUNDED:
        reason = bound_words(built.program, verdict, unroll)
        return replace(result, status="undecided", reason=reason)
    return result


def _grounds(program: Program, verdict: Verdict, unroll: int) -> Grounds:
    cut = verdict.status is Status.BOUNDED
    return Grounds(
        verdict.engine,
        bool(loops(program)),
        unroll if cut else 0,
        verdict.assumed,
        verdict.exercised,
    )


def loops(program: Program) -> dict[Pos | None, str]:
    """The place of each loop of a program, and the function that it is in."""
    return {
        stmt.at: name
        for name, function in program.functions.items()
        for stmt in walk(function.body)
        if isinstance(stmt, Loop)
    }


def bound_words(program: Program, verdict: Verdict, unroll: int) -> str:
    """Which loops were left off at their bound, and what is known up to there."""
    where = loops(program)
    named = sorted(
        f"the loop of {where.get(cut.at, '?')}, {short(cut.at)}" for cut in verdict.cuts
    )
    rounds = max((cut.rounds for cut in verdict.cuts), default=unroll)
    what = " and ".join(named) or "a loop"
    return (
        f"no counterexample in up to {rounds} rounds of {what}; more rounds are possible "
        f"(--bound {2 * max(unroll, rounds)} looks further)"
    )


def short(pos: Pos | None) -> str:
    """File and line."""
    return f"{PurePath(pos.file).name}:{pos.line}" if pos else "?"


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
