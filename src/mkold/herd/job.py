"""One litmus test, read, decided and worded, as a job for a worker.

``decide_file`` never raises: bad input, limits and bugs are outcomes too, so that one bad
file never stops a directory. The text is made in the worker, since a test can have millions
of states; many go through a file rather than through memory.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mkold.base.errors import InputError, LimitError, UnsupportedError
from mkold.herd import SCHEMA
from mkold.herd.lines import condition_line, head_line
from mkold.ir.program import Program
from mkold.litmus.parse import read

if TYPE_CHECKING:
    from mkold.lkmm import Verdict
    from mkold.lkmm.verdict import CutLoop

MANY_STATES = 20_000
_BOUNDED = "Bounded: executions that stay longer in a loop were not looked at"
_CUT = "Bounded: executions with more than {} rounds of the loop in line {} were not looked at"


@dataclass(frozen=True, slots=True)
class Options:
    """How to decide and word a test.

    ``states``: list them, and look for flags. ``witness``: keep what pictures need.
    ``json``: a JSON object in place of herd7's lines. ``scratch``: a folder for the states
    of a test that has many. ``engine``: which one decides, None for the usual one.
    """

    states: bool = True
    witness: bool = False
    timeout_s: float = 60.0
    json: bool = False
    scratch: str = ""
    engine: str | None = None


@dataclass(slots=True)
class Outcome:
    """What became of one file; filled in step by step here, and then left as it is.

    ``status`` is ``ok``, ``unsupported``, ``timeout`` or ``error``; ``reason`` says why,
    where it is not ``ok``. ``internal`` marks a bug of mkold's, with its ``traceback``. What
    to print is ``text``,
    then the file ``spool`` if there is one, then ``tail``. ``flags`` are those that herd7
    knows, ``notes`` mkold's own. ``program`` and ``verdict`` (without its states) are kept
    for pictures only.
    """

    path: str
    status: str
    cpu_s: float
    reason: str = ""
    internal: bool = False
    traceback: str = ""
    test: str = ""
    observation: str | None = None
    holds: bool | None = None
    bounded: bool = False
    assumed: tuple[str, ...] = ()
    cuts: tuple[CutLoop, ...] = ()
    n_states: int | None = None
    counts: tuple[int, int] = (0, 0)
    states: str = ""
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    text: str = ""
    spool: str = ""
    tail: str = ""
    program: Program | None = None
    verdict: Verdict | None = None


def decide_file(path: str, options: Options) -> Outcome:
    """Read, decide and word the test in ``path``."""
    start = time.process_time()
    outcome = Outcome(path, "ok", 0.0)
    program: Program | None = None
    try:
        program = read(Path(path), placed=options.witness)
        outcome.test = program.name
        verdict = _decide(program, options)
        if verdict.observation is None:
            outcome.status, outcome.reason = (
                "timeout",
                f"no answer within {options.timeout_s:g} s",
            )
        else:
            _refuse_faults(Path(path), verdict, options)
            _fill(outcome, program, verdict, options)
    except UnsupportedError as error:
        outcome.status, outcome.reason = "unsupported", str(error)
    except InputError as error:
        outcome.status, outcome.reason = "error", str(error)
    except LimitError as error:
        outcome.status, outcome.reason = "timeout", str(error)
    except MemoryError:
        outcome.status, outcome.reason = "timeout", "out of memory"
    except RecursionError:
        outcome.status, outcome.reason = "unsupported", f"{path}: nested too deep"
    except Exception as error:
        outcome.status, outcome.internal = "error", True
        outcome.reason = f"internal error: {type(error).__name__}: {error}"
        import traceback  # which costs more than a small test

        outcome.traceback = "".join(traceback.format_exception(error))
    outcome.cpu_s = time.process_time() - start
    if options.json:
        outcome.text = json_line(outcome)
    elif program is not None and (outcome.status != "error" or outcome.internal):
        _word(outcome, program)
    return outcome


def _decide(program: Program, options: Options) -> Verdict:
    from mkold.lkmm import decide

    return decide(
        program,
        states=options.states,
        flags=options.states,
        timeout_s=options.timeout_s,
        engine=options.engine,
        witness=options.witness,
        hangs=False,
    )


def _refuse_faults(path: Path, verdict: Verdict, options: Options) -> None:
    from mkold.lkmm.verdict import FAULTS

    if FAULTS.isdisjoint(verdict.flags):
        return
    from mkold.herd.faults import fault

    found = fault(path, verdict, options.timeout_s)
    if found is not None:
        raise found


def _fill(outcome: Outcome, program: Program, verdict: Verdict, options: Options) -> None:
    """The verdict into the outcome; its states worded, here or in a file."""
    from mkold.lkmm.verdict import OWN_FLAGS

    assert verdict.observation is not None
    observation = outcome.observation = verdict.observation.value
    outcome.holds = verdict.holds
    outcome.bounded, outcome.cuts = verdict.status.value == "bounded", verdict.cuts
    outcome.assumed = verdict.assumed
    outcome.flags = tuple(flag for flag in verdict.flags if flag not in OWN_FLAGS)
    outcome.notes = tuple(flag for flag in verdict.flags if flag in OWN_FLAGS)
    if options.witness:
        outcome.program, outcome.verdict = program, replace(verdict, states=())
    if not options.states:
        outcome.counts = int(observation != "Never"), int(observation != "Always")
        return
    from mkold.herd.states import count_satisfying, text_blocks

    n_states = outcome.n_states = len(verdict.states)
    positive = count_satisfying(program, verdict.states)
    outcome.counts = positive, n_states - positive
    if n_states <= MANY_STATES:
        outcome.states = "".join(text_blocks(program, verdict.states))
    elif options.scratch and not options.json:
        with tempfile.NamedTemporaryFile("w", dir=options.scratch, delete=False) as file:
            file.writelines(text_blocks(program, verdict.states))
        outcome.spool = file.name


def _word(outcome: Outcome, program: Program) -> None:
    """The text to print, in herd7's wording."""
    name = program.name
    head, tail = [head_line(program)], [f"Time {name} {outcome.cpu_s:.2f}", "", ""]
    if outcome.observation is None:
        undecided = [f"Undecided {name}: {outcome.reason}", condition_line(program)]
        outcome.text = "\n".join([*head, *undecided, *tail])
        return
    if outcome.n_states is not None:
        head.append(f"States {outcome.n_states}")
    positive, negative = outcome.counts
    answer = [
        "Ok" if outcome.holds else "No",
        "Witnesses",
        f"Positive: {positive} Negative: {negative}",
        *(f"Flag {flag}" for flag in outcome.flags),
        *(f"Note {note}" for note in outcome.notes),
        *_bounds(outcome),
        condition_line(program),
        f"Observation {name} {outcome.observation} {positive} {negative}",
    ]
    outcome.text = "\n".join(head) + "\n" + outcome.states
    outcome.tail, outcome.states = "\n".join([*answer, *tail]), ""


def _bounds(outcome: Outcome) -> list[str]:
    """What was not looked at."""
    found = [_CUT.format(cut.rounds, cut.at.line) for cut in outcome.cuts if cut.at is not None]
    if outcome.bounded and not found:
        found = [_BOUNDED]
    return [*found, *(f"Assumed: {text}" for text in outcome.assumed)]


def json_line(outcome: Outcome) -> str:
    """One JSON object and a line end; ``final`` only where the states are not too many."""
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
        body |= {"notes": list(outcome.notes), "assumed": list(outcome.assumed)}
    if outcome.n_states is not None and outcome.n_states <= MANY_STATES:
        body["final"] = outcome.states.splitlines()
    if outcome.reason:
        body["reason"] = outcome.reason
    return json.dumps(body) + "\n"
