"""One litmus test, read and decided: what there is to print of it.

``decide_file`` never raises: bad input, limits and bugs are outcomes too, so that one bad
file never stops a directory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mkold.base.errors import InputError, LimitError, UnsupportedError
from mkold.ir.program import Program
from mkold.litmus.parse import read
from mkold.litmus.wording import (
    Names,
    condition_line,
    counts,
    head_line,
    state_lines,
)

if TYPE_CHECKING:
    from mkold.lkmm import Verdict

SCHEMA = "mkold.litmus/1"


@dataclass(frozen=True, slots=True)
class Options:
    """How to decide: ``states`` and ``witness`` as for ``lkmm.decide``."""

    states: bool = True
    witness: bool = False
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    ``status`` is ``ok``, ``unsupported``, ``timeout`` or ``error``; ``reason`` says why,
    where it is not ``ok``. ``internal`` marks a bug of mkold's.
    """

    path: str
    status: str
    cpu_s: float
    reason: str = ""
    internal: bool = False
    program: Program | None = None
    verdict: Verdict | None = None
    with_states: bool = True

    def lines(self) -> Iterator[str]:
        """The verdict in herd7's wording; nothing for a file that could not be read."""
        program, verdict = self.program, self.verdict
        if program is None:
            return
        yield head_line(program)
        if verdict is None or verdict.observation is None:
            yield f"Undecided {program.name}: {self.reason}"
            yield condition_line(program)
        else:
            yield from self._decided(program, verdict, verdict.observation.value)
        yield f"Time {program.name} {self.cpu_s:.2f}"
        yield ""

    def _decided(self, program: Program, verdict: Verdict, observation: str) -> Iterator[str]:
        states = verdict.states if self.with_states else None
        positive, negative = counts(program, states, observation)
        if states is not None:
            yield from state_lines(program, states)
        yield "Ok" if verdict.holds else "No"
        yield "Witnesses"
        yield f"Positive: {positive} Negative: {negative}"
        for flag in verdict.flags:
            yield f"Flag {flag}"
        if verdict.status.value == "bounded":
            yield "Bounded: executions that stay longer in a loop were not looked at"
        yield condition_line(program)
        yield f"Observation {program.name} {observation} {positive} {negative}"

    def json_line(self) -> str:
        """One JSON object."""
        program, verdict = self.program, self.verdict
        body: dict[str, object] = {
            "schema": SCHEMA,
            "path": self.path,
            "test": program.name if program else None,
            "observation": None,
            "states": None,
            "flags": [],
            "status": self.status,
            "cpu_s": round(self.cpu_s, 6),
        }
        if verdict is not None and verdict.observation is not None and program is not None:
            body["observation"] = verdict.observation.value
            body["holds"] = verdict.holds
            body["flags"] = list(verdict.flags)
            body["bounded"] = verdict.status.value == "bounded"
            if self.with_states:
                names = Names(program.symbols)
                found = sorted(verdict.states, key=names.sort_key)
                body["states"] = len(found)
                body["final"] = [names.state(program.observed, values) for values in found]
        if self.reason:
            body["reason"] = self.reason
        return json.dumps(body)


def decide_file(path: str, options: Options) -> Outcome:
    """Read and decide the test in ``path``."""
    start = time.process_time()
    program: Program | None = None

    def outcome(
        status: str, reason: str = "", verdict: Verdict | None = None, *, internal: bool = False
    ) -> Outcome:
        cpu_s = time.process_time() - start
        return Outcome(path, status, cpu_s, reason, internal, program, verdict, options.states)

    try:
        program = read(Path(path))
        verdict = _decide(program, options)
    except UnsupportedError as error:
        return outcome("unsupported", str(error))
    except InputError as error:
        return outcome("error", str(error))
    except LimitError as error:
        return outcome("timeout", str(error))
    except MemoryError:
        return outcome("timeout", "out of memory")
    except RecursionError:
        return outcome("unsupported", f"{path}: nested too deep")
    except Exception as error:
        return outcome(
            "error", f"internal error: {type(error).__name__}: {error}", internal=True
        )
    if verdict.observation is None:
        return outcome("timeout", f"no answer within {options.timeout_s:g} s", verdict=verdict)
    return outcome("ok", verdict=verdict)


def _decide(program: Program, options: Options) -> Verdict:
    from mkold.lkmm import decide

    return decide(
        program,
        states=options.states,
        flags=options.states,
        timeout_s=options.timeout_s,
        witness=options.witness,
    )
