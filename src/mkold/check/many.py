"""Many claims: their cases are decided side by side, each in a worker process.

One case that fails, crashes, or runs out of time or memory is a result like any other; the
rest go on. Set-ups and tests of final states, which are anybody's Python, run in the workers
too, so limits hold for them as well.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mkold.base.errors import InputError, LimitError, MkoldError, UnsupportedError
from mkold.base.workers import Died, each, hard_limit
from mkold.check.claim import Case, Claim
from mkold.check.decide import DEFAULT_TIMEOUT_S, DEFAULT_UNROLL, decide_case
from mkold.check.program import source_diff
from mkold.check.result import CaseResult, ClaimResult, failed, refused, undecided
from mkold.lkmm import engines

INTERRUPTED = "interrupted before it was decided"


@dataclass(frozen=True, slots=True)
class Limits:
    """How cases are decided: ``jobs`` at a time, each within ``timeout_s`` of processor time
    and ``memory_bytes``, a loop's ``bound`` in rounds; ``engine`` as for ``lkmm.decide``.

    ``show``: with executions; ``changes``: say what each case's edits change.
    """

    jobs: int = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    memory_bytes: int | None = None
    bound: int = DEFAULT_UNROLL
    engine: str | None = None
    show: bool = True
    changes: bool = False


def decide_claims(
    claims: Sequence[Claim], limits: Limits, progress: Callable[[str], None] = lambda text: None
) -> Generator[ClaimResult]:
    """Decide all cases of all claims; each claim as soon as it and those before are done.

    ``KeyboardInterrupt``, also one thrown in, comes out again after the claims of which some
    case was decided by then; the other cases of those are undecided.
    """
    cases = [case for claim in claims for case in claim.cases]
    names = [f"{claim.name}: {case.label}" for claim in claims for case in claim.cases]
    hard_s = hard_limit(limits.timeout_s)
    for name in [limits.engine] if limits.engine else engines.USUAL:
        engines.named(name)  # once, here, rather than in every worker
    done = each(
        partial(answer, limits=limits), cases, jobs=limits.jobs, hard_s=hard_s,
        memory_bytes=limits.memory_bytes, chunk=1,
    )  # fmt: skip
    found: dict[int, CaseResult] = {}
    left = deque(_places(claims))
    try:
        while left:
            claim, mine = left[0]
            while not all(i in found for i in mine):
                waiting = next(i for i in mine if i not in found)
                progress(f"{len(found)} of {len(cases)} cases, now {names[waiting]}")
                index, result = next(done)
                if isinstance(result, Died):
                    result = dead(cases[index], result, limits.timeout_s)
                found[index] = result
            left.popleft()
            yield ClaimResult(claim, tuple(found[i] for i in mine))
    except KeyboardInterrupt:
        done.close()
        for claim, mine in left:
            if any(i in found for i in mine):
                some = (found.get(i) or undecided(cases[i], INTERRUPTED) for i in mine)
                yield ClaimResult(claim, tuple(some))
        raise


def _places(claims: Sequence[Claim]) -> Iterator[tuple[Claim, range]]:
    """Where each claim's cases stand among all."""
    start = 0
    for claim in claims:
        yield claim, range(start, start := start + len(claim.cases))


def answer(case: Case, limits: Limits) -> CaseResult:
    """Whatever happens, a result."""
    try:
        result = decide_case(
            case,
            timeout_s=limits.timeout_s,
            unroll=limits.bound,
            show=limits.show,
            engine=limits.engine,
        )
        if limits.changes:
            return replace(result, changes=source_diff(case.scenario, case.edits))
        return result
    except BaseException as error:
        return ended(case, error)


def ended(case: Case, error: BaseException) -> CaseResult:
    """The result of a case at which ``error`` was raised."""
    match error:
        case LimitError() | UnsupportedError():
            return undecided(case, " ".join(str(error).split()))
        case MkoldError():
            return refused(case, error)
        case MemoryError():
            return undecided(case, "out of memory")
        case RecursionError():
            return undecided(case, "the program is nested too deep")
        case KeyboardInterrupt():  # not from the keyboard: workers do not hear that
            return refused(case, InputError("its set-up or a test raises KeyboardInterrupt"))
    return failed(case, error, "".join(traceback.format_exception(error)))


def dead(case: Case, died: Died, timeout_s: float) -> CaseResult:
    """The result of a case whose worker died."""
    if died.cause == "time":
        return undecided(case, f"no answer within {timeout_s:g} s", cpu_s=hard_limit(timeout_s))
    if died.cause == "memory":
        return undecided(case, "out of memory")
    return undecided(case, "the process that decided it died")
