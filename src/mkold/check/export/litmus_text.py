"""Cases as C litmus tests, so that herd7 can be asked the same question.

A case is straightened (``straighten``), written, read back and decided again; only a text
that comes back with the same final states and the same data races is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mkold import lkmm
from mkold.base.errors import LimitError, UnsupportedError
from mkold.base.output import write_file
from mkold.check.claim import Case, Claim
from mkold.check.decide import DEFAULT_TIMEOUT_S, DEFAULT_UNROLL
from mkold.check.export.straighten import straighten
from mkold.check.program import build_case
from mkold.ir.nodes import Break, Loop
from mkold.ir.program import Program
from mkold.litmus import parse, write
from mkold.litmus.names import Names
from mkold.lkmm.unroll import unroll

MAX_STATES = 64


@dataclass(frozen=True, slots=True)
class Exported:
    """``text`` of the litmus test, or the ``reason`` why there is none."""

    claim: str
    label: str
    name: str
    text: str
    reason: str = ""


def export(claims: Iterable[Claim], folder: Path, *, force: bool = False) -> str:
    """Write one ``.litmus`` file a case that fits; returns what was written and what not.

    Raises
    ------
    InputError : a file exists and ``force`` is not set
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = list(exports(claims))
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


def exports(claims: Iterable[Claim]) -> Iterator[Exported]:
    """Each case as a litmus test, or why not."""
    for claim in claims:
        for i, case in enumerate(claim.cases):
            name = re.sub(r"[^A-Za-z0-9]+", "-", f"{claim.name}-{i}-{case.label}").strip("-")
            try:
                yield Exported(claim.name, case.label, name, litmus_text(case, name))
            except (UnsupportedError, LimitError) as error:
                yield Exported(claim.name, case.label, name, "", str(error))
            except RecursionError:
                yield Exported(claim.name, case.label, name, "", "branches too deep")


def litmus_text(case: Case, name: str) -> str:
    """The case as a litmus test that reads back to the same verdict.

    Raises
    ------
    UnsupportedError, LimitError : the case can't be said in herd's dialect
    """
    program = build_case(case).program
    verdict = _decide(program)
    if verdict.status is not lkmm.Status.OK:
        raise UnsupportedError("the model did not decide it")
    if len(verdict.states) > MAX_STATES:
        raise UnsupportedError(f"more than {MAX_STATES} final states")
    straight = straighten(unroll(program, DEFAULT_UNROLL), verdict.states)
    text = write(replace(straight, name=name))
    read_back = parse(text, f"{name}.litmus")
    again = _decide(_by_rounds(read_back))
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


def _decide(program: Program) -> lkmm.Verdict:
    return lkmm.decide(
        program,
        states=True,
        flags=True,
        timeout_s=DEFAULT_TIMEOUT_S,
        max_unroll=DEFAULT_UNROLL,
    )


def _shown(program: Program, verdict: lkmm.Verdict) -> set[frozenset[tuple[str, str]]]:
    """Final states by the names of places and addresses, which survive being written."""
    names = Names(program.symbols)
    places = [names.place(place) for place in program.observed]
    return {
        frozenset(zip(places, map(names.value, state), strict=True)) for state in verdict.states
    }
