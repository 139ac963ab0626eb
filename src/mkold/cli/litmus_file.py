"""One litmus test, read, decided and worded, as a job for a worker.

``decide_file`` never raises: bad input, limits and bugs are outcomes too, so that one bad
file never stops a directory. The text is made in the worker, since a test can have half a
million states.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mkold.base.errors import InputError, LimitError, UnsupportedError
from mkold.ir.program import Program
from mkold.litmus.parse import read
from mkold.litmus.wording import condition_line, counts, head_line, state_texts

if TYPE_CHECKING:
    from mkold.lkmm import Verdict

SCHEMA = "mkold.litmus/1"


@dataclass(frozen=True, slots=True)
class Options:
    """How to decide and word a test.

    ``states``: list them, and look for flags. ``witness``: keep what pictures need.
    ``json``: a JSON object in place of herd7's lines.
    """

    states: bool = True
    witness: bool = False
    timeout_s: float = 60.0
    json: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    ``status`` is ``ok``, ``unsupported``, ``timeout`` or ``error``; ``reason`` says why,
    where it is not ``ok``. ``internal`` marks a bug of mkold's. ``text`` is what to print.
    ``program`` and ``verdict`` (without its states) are kept for pictures only.
    """

    path: str
    status: str
    cpu_s: float
    reason: str = ""
    internal: bool = False
    test: str = ""
    observation: str | None = None
    holds: bool | None = None
    bounded: bool = False
    n_states: int | None = None
    flags: tuple[str, ...] = ()
    text: str = ""
    program: Program | None = None
    verdict: Verdict | None = None


def decide_file(path: str, options: Options) -> Outcome:
    """Read, decide and word the test in ``path``."""
    start = time.process_time()
    program: Program | None = None
    verdict: Verdict | None = None
    states: list[str] = []
    status, reason, internal = "ok", "", False
    try:
        program = read(Path(path))
        verdict = _decide(program, options)
        if verdict.observation is None:
            status, reason = "timeout", f"no answer within {options.timeout_s:g} s"
        elif options.states:
            states = state_texts(program, verdict.states)
    except UnsupportedError as error:
        status, reason = "unsupported", str(error)
    except InputError as error:
        status, reason = "error", str(error)
    except LimitError as error:
        status, reason = "timeout", str(error)
    except MemoryError:
        status, reason = "timeout", "out of memory"
    except RecursionError:
        status, reason = "unsupported", f"{path}: nested too deep"
    except Exception as error:
        status, internal = "error", True
        reason = f"internal error: {type(error).__name__}: {error}"
    outcome = Outcome(path, status, time.process_time() - start, reason, internal)
    return _worded(outcome, program, verdict if status == "ok" else None, states, options)


def _decide(program: Program, options: Options) -> Verdict:
    from mkold.lkmm import decide

    return decide(
        program,
        states=options.states,
        flags=options.states,
        timeout_s=options.timeout_s,
        witness=options.witness,
    )


def _worded(
    outcome: Outcome,
    program: Program | None,
    verdict: Verdict | None,
    states: list[str],
    options: Options,
) -> Outcome:
    """The outcome with what was found and the text to print."""
    if program is not None:
        outcome = replace(outcome, test=program.name)
    if verdict is not None and verdict.observation is not None:
        outcome = replace(
            outcome,
            observation=verdict.observation.value,
            holds=verdict.holds,
            bounded=verdict.status.value == "bounded",
            n_states=len(states) if options.states else None,
            flags=verdict.flags,
        )
        if options.witness:
            outcome = replace(outcome, program=program, verdict=replace(verdict, states=()))
    if options.json:
        return replace(outcome, text=json_line(outcome, states) + "\n")
    if program is None:
        return outcome
    lines = herd_lines(outcome, program, verdict, states)
    return replace(outcome, text="\n".join(lines) + "\n\n")


def herd_lines(
    outcome: Outcome, program: Program, verdict: Verdict | None, states: list[str]
) -> Iterator[str]:
    """The verdict in herd7's wording."""
    name = program.name
    yield head_line(program)
    if verdict is None or outcome.observation is None:
        yield f"Undecided {name}: {outcome.reason}"
        yield condition_line(program)
    else:
        listed = None if outcome.n_states is None else verdict.states
        positive, negative = counts(program, listed, outcome.observation)
        if listed is not None:
            yield f"States {len(states)}"
            yield from states
        yield "Ok" if outcome.holds else "No"
        yield "Witnesses"
        yield f"Positive: {positive} Negative: {negative}"
        for flag in outcome.flags:
            yield f"Flag {flag}"
        if outcome.bounded:
            yield "Bounded: executions that stay longer in a loop were not looked at"
        yield condition_line(program)
        yield f"Observation {name} {outcome.observation} {positive} {negative}"
    yield f"Time {name} {outcome.cpu_s:.2f}"


def json_line(outcome: Outcome, states: list[str]) -> str:
    """One JSON object."""
    body: dict[str, object] = {
        "schema": SCHEMA,
        "path": outcome.path,
        "test": outcome.test or None,
        "observation": outcome.observation,
        "states": outcome.n_states,
        "flags": list(outcome.flags),
        "status": outcome.status,
        "cpu_s": round(outcome.cpu_s, 6),
    }
    if outcome.observation is not None:
        body |= {"holds": outcome.holds, "bounded": outcome.bounded}
    if outcome.n_states is not None:
        body["final"] = states
    if outcome.reason:
        body["reason"] = outcome.reason
    return json.dumps(body)
