"""Which locals a loop hands on: to its next round, or to what follows it.

A round that leaves them as they were has changed nothing that is ever looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from mkold.ir.flow import reads, stale_when_left, taken_over, writes
from mkold.ir.nodes import Assign, Block, Function, If, Loop, Return, Stmt, walk
from mkold.ir.program import Program, Reg

Names = frozenset[str]


class Carried:
    """Of every loop of ``program``."""

    def __init__(self, program: Program) -> None:
        observed: dict[str, set[str]] = {}
        for place in program.observed:
            if isinstance(place, Reg):
                entry = program.threads[place.thread].function
                observed.setdefault(entry, set()).add(place.local)
        self._names: dict[int, Names] = {}
        self._steering: dict[int, Names] = {}
        self._loops: list[Loop] = []  # keeps their ids theirs
        for name, function in program.functions.items():
            self._function(function, frozenset(observed.get(name, ())))

    def of(self, loop: Loop) -> Names:
        """Locals whose words matter after a round of ``loop``."""
        return self._names[id(loop)]

    def steering(self, loop: Loop) -> Names:
        """Those of them that what a round does depends on."""
        return self._steering[id(loop)]

    def _function(self, function: Function, observed: Names) -> None:
        for loop in _loops(function.body):
            elsewhere = observed.union(_reads(function.body, loop))
            left = stale_when_left(loop, elsewhere)
            assigned = frozenset(name for stmt in walk((loop,)) for name in writes(stmt))
            self._names[id(loop)] = (taken_over(loop) | left) & assigned
            self._steering[id(loop)] = self._names[id(loop)] & _steers(loop)
            self._loops.append(loop)


def _steers(loop: Loop) -> Names:
    """Locals that a condition, an access or a call in ``loop`` depends on."""
    inside = [stmt for stmt in walk((loop,)) if not isinstance(stmt, Return)]
    steer = {n for stmt in inside if not isinstance(stmt, Assign) for n in reads(stmt)}
    before = -1
    while len(steer) > before:
        before = len(steer)
        for stmt in inside:
            if isinstance(stmt, Assign) and stmt.dst in steer:
                steer.update(reads(stmt))
    return frozenset(steer)


def _loops(body: tuple[Stmt, ...]) -> Iterator[Loop]:
    for stmt in body:
        if isinstance(stmt, Loop):
            yield stmt
        for inner in _bodies(stmt):
            yield from _loops(inner)


def _reads(body: tuple[Stmt, ...], but: Loop) -> Iterator[str]:
    """Locals read in ``body``, not counting the loop ``but``."""
    for stmt in body:
        if stmt is not but:
            yield from reads(stmt)
            for inner in _bodies(stmt):
                yield from _reads(inner, but)


def _bodies(stmt: Stmt) -> tuple[tuple[Stmt, ...], ...]:
    match stmt:
        case If(then=then, orelse=orelse):
            return (then, orelse)
        case Loop(body=body, step=step):
            return (body, step)
        case Block(body=body):
            return (body,)
        case _:
            return ()
