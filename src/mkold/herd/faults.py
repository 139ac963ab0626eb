"""A test whose executions do what has no meaning: divide by zero, or access no object.

LKMM says nothing of such an execution, so the test gets no answer; herd7 gives none either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from mkold.base.errors import InputError, Pos, SourceError
from mkold.ir.edit import map_statements
from mkold.ir.nodes import Op, Stmt, walk
from mkold.ir.program import Program
from mkold.litmus.parse import read
from mkold.lkmm import Verdict, decide
from mkold.lkmm.verdict import FAULTS, Event

DIVISION = "division_by_zero"
_REASONS = {
    "null-dereference": ("an access through NULL", "an execution gets here with 0"),
    "wild-access": (
        "an access outside every object",
        "an execution gets here with a word that is no variable's address",
    ),
    "division-by-zero": ("division by zero", "an execution gets here with a divisor of 0"),
}
Decide = Callable[[Program], Verdict]


def fault(path: Path, found: Verdict, timeout_s: float) -> InputError | None:
    """What is wrong with the test in ``path`` if ``found``, its verdict, shows a fault."""
    flag = next((flag for flag in found.flags if flag in FAULTS), None)
    if flag is None:
        return None
    program = read(path)

    def again(test: Program) -> Verdict:
        return decide(test, witness=True, timeout_s=timeout_s)

    reason, hint = _REASONS[flag]
    at = _place(program, flag, again)
    if at is None:
        return InputError(f"{path}: {reason}; {hint}")
    line = path.read_text(encoding="utf-8", errors="replace").split("\n")[at.line - 1]
    return SourceError(reason, at, line, hint)


def _place(program: Program, flag: str, again: Decide) -> Pos | None:
    if flag == "division-by-zero":
        return _division(program, again)
    execution = again(program).flagged.get(flag)
    events = () if execution is None else execution.events
    return next((event.at for event in events if _astray(event, program)), None)


def _astray(event: Event, program: Program) -> bool:
    words = program.words or ()
    return event.address is not None and event.at is not None and event.address not in words


def _division(program: Program, again: Decide) -> Pos | None:
    """The first division by zero: each is asked alone."""
    for asked in _divisions(program):
        if "division-by-zero" in again(_with_only(program, asked)).flags:
            return asked.at
    return None


def _divisions(program: Program) -> Iterator[Op]:
    for function in program.functions.values():
        for stmt in walk(function.body):
            if isinstance(stmt, Op) and stmt.prim == DIVISION:
                yield stmt


def _with_only(program: Program, asked: Op) -> Program:
    def change(stmt: Stmt) -> tuple[Stmt, ...] | None:
        other = isinstance(stmt, Op) and stmt.prim == DIVISION and stmt is not asked
        return () if other else None

    functions = {
        name: replace(function, body=map_statements(function.body, change))
        for name, function in program.functions.items()
    }
    return replace(program, functions=functions)
