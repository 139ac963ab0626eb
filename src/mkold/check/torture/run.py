"""The same scenario natively, on real threads, many times over.

Every outcome seen must be one that the model allows: an outcome that it rules out is an
error of mkold's (of the model, the compiler, or a lock), never of the scenario. An outcome is
a final state, or that the threads went no further: a check of the checked build, ``BUG_ON``,
threads that are stuck, a crash. For each of the latter the model has properties of its own.

Each case runs in processes of its own: one decides, side by side with others; one runs the
threads, alone.

Known limits: a machine shows few of the outcomes that the model allows, so this can only
find errors, never their absence; scenarios that come to ``call_rcu`` are left out, because a
callback of one round would run in the next; where a data race or a stray address is among what
the model has, it says nothing of the rest, and nothing is ruled out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial

from mkold import lkmm
from mkold.base.workers import Died, each, hard_limit
from mkold.check.claim import Case, Claim
from mkold.check.many import Limits, dead, ended
from mkold.check.program import Built, build_case
from mkold.check.result import CaseResult, undecided
from mkold.check.setup import HEAP_START
from mkold.check.torture.native import Outcomes, Stop, run_natively

# What the model calls it when threads go no further, by the kind of ``Stop``.
_STRAY = frozenset(
    {"null-dereference", "out-of-bounds", "wild-address", "wild-access", "poison-address"}
)
_FREED = frozenset({"use-after-free", "write-after-free", "double-free", "poison-address"})
_STOPS = {
    "stuck": frozenset({"hang"}),
    "BUG_ON": frozenset({"bug-on"}),
    "bad call": frozenset({"bad-call"}),
    "out of bounds": _STRAY,
    "poison read": _FREED,
}
_CRASHES = _STRAY | {"bad-call", "division-by-zero", "invalid-free"}
# What leaves everything else open.
_VOID = _CRASHES | {"data-race"}
_OURS = ("time is up", "out of memory")  # the end of the rounds, and nothing of the threads'
_SHOWN = 8
_COMPILE_S = 10.0  # that a scenario's machine code may take, beside its threads' time


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the model has of ``n_threads``: final states, over ``names``; flags.

    ``out``: why it is left out; ``result``: the same of one that ended as in ``check`` without
    an answer.
    """

    states: frozenset[tuple[int, ...]] = frozenset()
    flags: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    engine: str = ""
    out: str = ""
    n_threads: int = 1
    result: CaseResult | None = None


@dataclass(frozen=True, slots=True)
class TortureResult:
    """``ruled_out``: what happened and the model does not allow, with both sides' record.

    ``forbidden``: the final states among that; ``note``: what else there is to say;
    ``result``: why there is no answer, as ``check`` has it.
    """

    scenario: str
    label: str
    rounds: int
    n_seen: int
    n_allowed: int
    forbidden: tuple[tuple[int, ...], ...] = ()
    ruled_out: tuple[str, ...] = ()
    note: str = ""
    result: CaseResult | None = None


def torture(
    claims: Sequence[Claim], rounds: int, limits: Limits,
    progress: Callable[[str], None] = lambda text: None,
) -> Generator[TortureResult]:  # fmt: skip
    """Run every case natively ``rounds`` times and compare with what the model allows."""
    cases = [case for claim in claims for case in claim.cases]
    names = [f"{claim.name}: {case.label}" for claim in claims for case in claim.cases]
    models: dict[int, Allowed] = {}
    decided = each(
        partial(allowed, limits=limits), cases, jobs=limits.jobs,
        hard_s=hard_limit(limits.timeout_s), memory_bytes=limits.memory_bytes, chunk=1,
    )  # fmt: skip
    for index, model in decided:
        progress(f"{len(models)} of {len(cases)} cases decided, {names[index]}")
        if isinstance(model, Died):
            model = _without(dead(cases[index], model, limits.timeout_s))
        models[index] = model
    for index, case in enumerate(cases):
        progress(f"{index} of {len(cases)} cases ran, now {names[index]}")
        model = models[index]
        if model.out:
            yield TortureResult(case.scenario.name, case.label, 0, 0, 0,
                                note=f"left out: {model.out}", result=model.result)  # fmt: skip
        else:
            yield compare(case, ran(case, rounds, limits, model.n_threads), model)


def allowed(case: Case, limits: Limits) -> Allowed:
    """What the model has to say of a case; whatever happens, an answer."""
    try:
        return _allowed(case, limits)
    except BaseException as error:
        return _without(ended(case, error))


def _allowed(case: Case, limits: Limits) -> Allowed:
    built = build_case(case)
    out = _left_out(built)
    if out:
        return Allowed(out=out)
    verdict = lkmm.decide(built.program, timeout_s=limits.timeout_s, max_unroll=limits.bound)
    if verdict.status is not lkmm.Status.OK:
        return _without(undecided(case, "the model did not decide it"))
    if any(prim == "call_rcu" for prim, _ in verdict.exercised):
        return Allowed(out="call_rcu")
    names = [*built.setup.watched]
    names += [f"{thread}'s result {call}.{k}" for thread, call, k in built.results]
    return Allowed(
        frozenset(verdict.states), frozenset(verdict.flags), tuple(names), verdict.engine,
        n_threads=len(built.setup.threads),
    )  # fmt: skip


def _without(result: CaseResult) -> Allowed:
    return Allowed(out=result.reason, result=result)


def _left_out(built: Built) -> str:
    """Why a scenario can't be run over and over; empty if it can."""
    if built.scenario.partial:
        return "the scenario looks at some executions only"
    if any(address < HEAP_START for address in built.setup.watched.values()):
        return "it watches a word of the boot area"
    return ""


def ran(case: Case, rounds: int, limits: Limits, n_threads: int) -> Outcomes | CaseResult:
    """What the machine did, in a process of its own; a crash is an outcome too."""
    hard_s = hard_limit(limits.timeout_s) * n_threads + _COMPILE_S
    run = partial(_ran, rounds=rounds, timeout_s=limits.timeout_s)
    ((_, found),) = each(run, [case], jobs=1, hard_s=hard_s, chunk=1)
    if not isinstance(found, Died):
        return found
    kind = {"time": "time is up", "memory": "out of memory"}.get(found.cause, "crash")
    return Outcomes(0, stop=Stop(kind, 0, f"the process ended: {found.cause} {found.signal}"))


def _ran(case: Case, rounds: int, timeout_s: float) -> Outcomes | CaseResult:
    try:
        return run_natively(case, rounds, timeout_s)
    except BaseException as error:
        return ended(case, error)


def compare(case: Case, seen: Outcomes | CaseResult, model: Allowed) -> TortureResult:
    """What of ``seen`` the model rules out."""
    if isinstance(seen, CaseResult):
        return TortureResult(case.scenario.name, case.label, 0, 0, len(model.states),
                             note=f"did not run: {seen.reason}", result=seen)  # fmt: skip
    void = _VOID & model.flags
    bad = () if void else tuple(sorted(set(seen.states) - model.states))
    said = [
        f"{state_text(model.names, state)}, {seen.states[state].n} times, first in round "
        f"{seen.states[state].first}"
        for state in bad
    ]
    notes = [f"not compared, since the model has {', '.join(sorted(void))}"] if void else []
    ours = seen.stop is not None and seen.stop.kind in _OURS
    if seen.stop is not None:
        text = f"{seen.stop.kind} in round {seen.stop.round}: {seen.stop.said}"
        reasons = _STOPS.get(seen.stop.kind, _CRASHES) & model.flags
        if reasons:
            text += f", as the model has it: {', '.join(sorted(reasons))}"
        (notes if reasons or void or ours else said).append(text)
    if seen.warned and not void and "warn-on" not in model.flags:
        said.append(seen.warned)
    return TortureResult(
        case.scenario.name,
        case.label,
        seen.rounds,
        len(seen.states),
        len(model.states),
        bad,
        (*said, _of_the_model(model)) if said else (),
        "; ".join(notes),
        undecided(case, notes[-1]) if ours and not said else None,
    )


def _of_the_model(model: Allowed) -> str:
    """The model's side of the record."""
    states = sorted(model.states)
    shown = "; ".join(state_text(model.names, state) for state in states[:_SHOWN])
    more = f"; and {len(states) - _SHOWN} more" if len(states) > _SHOWN else ""
    flags = ", ".join(sorted(model.flags)) or "none"
    return (
        f"the model ({model.engine}) allows {len(states)} final states: {shown}{more}; "
        f"it raises: {flags}"
    )


def state_text(names: Sequence[str], state: Sequence[int]) -> str:
    """A final state by the scenario's names."""
    pairs = zip(names, state, strict=True)
    return ", ".join(f"{name} = {word:#x}" for name, word in pairs) or "(nothing is watched)"
