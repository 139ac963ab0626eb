"""Cases as C litmus tests, so that herd7 can be asked the same question.

A case is straightened (``straighten``), written, read back and decided again; only a text
that comes back with the same final states and the same data races is kept. Each case is done
in a worker, under the limits of the verb.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mkold import lkmm
from mkold.base.errors import LimitError, MkoldError, UnsupportedError
from mkold.base.output import write_file
from mkold.base.workers import Died, each, hard_limit
from mkold.check.claim import Case, Claim
from mkold.check.export.straighten import straighten
from mkold.check.many import Limits, dead
from mkold.check.program import build_case
from mkold.check.result import CaseResult, failed, refused
from mkold.ir.nodes import Break, Loop
from mkold.ir.program import Program
from mkold.litmus import parse, write
from mkold.litmus.names import Names
from mkold.lkmm.unroll import unroll

MAX_STATES = 64
_USUAL = Limits()


@dataclass(frozen=True, slots=True)
class Exported:
    """``text`` of the litmus test, or the ``reason`` why there is none.

    ``result``: why nothing could be asked of the case at all.
    """

    claim: str
    label: str
    name: str
    text: str
    reason: str = ""
    result: CaseResult | None = None


def export(done: Iterable[Exported], folder: Path, *, force: bool = False) -> str:
    """Write one ``.litmus`` file a case that fits; returns what was written and what not.

    Raises
    ------
    InputError : a file exists and ``force`` is not set
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = list(done)
    lines = []
    for one in done:
        if one.reason:
            lines.append(f"not exported: {one.claim}: {one.label}: {one.reason}")
            continue
        path = folder / f"{one.name}.litmus"
        write_file(path, one.text, force=force)
        lines.append(f"{path}")
    n = sum(not one.reason for one in done)
    return "\n".join([*lines, f"{n} of {len(done)} cases exported"])


def exports(claims: Iterable[Claim], limits: Limits = _USUAL) -> Iterator[Exported]:
    """Each case as a litmus test, or why not."""
    asked = [
        (claim.name, re.sub(r"[^A-Za-z0-9]+", "-", f"{claim.name}-{i}-{case.label}"), case)
        for claim in claims
        for i, case in enumerate(claim.cases)
    ]
    named = [(claim, name.strip("-"), case) for claim, name, case in asked]
    done = each(
        partial(_export, limits=limits), named, jobs=limits.jobs,
        hard_s=hard_limit(limits.timeout_s), memory_bytes=limits.memory_bytes, chunk=1,
    )  # fmt: skip
    found = {}
    for index, one in done:
        if isinstance(one, Died):
            claim, name, case = named[index]
            reason = dead(case, one, limits.timeout_s).reason
            one = Exported(claim, case.label, name, "", reason)
        found[index] = one
    yield from (found[index] for index in range(len(named)))


def _export(asked: tuple[str, str, Case], limits: Limits) -> Exported:
    """Whatever happens, a result."""
    claim, name, case = asked
    left_out = partial(Exported, claim, case.label, name, "")
    try:
        return Exported(claim, case.label, name, litmus_text(case, name, limits))
    except (UnsupportedError, LimitError) as error:
        return left_out(str(error))
    except MemoryError:
        return left_out("out of memory")
    except RecursionError:
        return left_out("branches too deep")
    except MkoldError as error:
        return left_out(str(error).partition("\n")[0], refused(case, error))
    except BaseException as error:
        return left_out(f"{error!r}", failed(case, error, traceback.format_exc()))


def litmus_text(case: Case, name: str, limits: Limits) -> str:
    """The case as a litmus test that reads back to the same verdict.

    Raises
    ------
    UnsupportedError, LimitError : the case can't be said in herd's dialect
    """
    program = build_case(case).program
    verdict = _decide(program, limits)
    if verdict.status is not lkmm.Status.OK:
        raise UnsupportedError("the model did not decide it")
    if len(verdict.states) > MAX_STATES:
        raise UnsupportedError(f"more than {MAX_STATES} final states")
    straight = straighten(unroll(program, limits.bound), verdict.states)
    text = write(replace(straight, name=name))
    read_back = parse(text, f"{name}.litmus")
    again = _decide(_by_rounds(read_back), limits)
    if again.status is not lkmm.Status.OK:
        raise UnsupportedError("read back, it is not decided in time")
    if _shown(straight, verdict) != _shown(read_back, again):
        raise UnsupportedError("read back, the final states differ")
    if ("data-race" in verdict.flags) != ("data-race" in again.flags):
        raise UnsupportedError("read back, the data races differ")
    return text


def _by_rounds(program: Program) -> Program:
    """With an empty loop, for which the engine learns what reads may find before it lists
    paths; the many small branches of a straight thread need that."""
    first = program.threads[0].function
    function = program.functions[first]
    body = (Loop((Break(),)), *function.body)
    return replace(
        program, functions={**program.functions, first: replace(function, body=body)}
    )


def _decide(program: Program, limits: Limits) -> lkmm.Verdict:
    return lkmm.decide(
        program,
        states=True,
        flags=True,
        timeout_s=limits.timeout_s,
        max_unroll=limits.bound,
    )


def _shown(program: Program, verdict: lkmm.Verdict) -> set[frozenset[tuple[str, str]]]:
    """Final states by the names of places and addresses, which survive being written."""
    names = Names(program.symbols)
    places = [names.place(place) for place in program.observed]
    return {
        frozenset(zip(places, map(names.value, state), strict=True)) for state in verdict.states
    }
