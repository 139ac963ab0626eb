"""What a program may wait for, and how large it is: seen from its text alone."""

from __future__ import annotations

from collections.abc import Iterator

from mkold.ir.meaning import expanded
from mkold.ir.nodes import Loop, Op, Stmt, walk
from mkold.ir.prims import PRIMS
from mkold.ir.program import Program


def may_wait(program: Program) -> bool:
    """Whether a thread may go round a loop, or stand at a lock or in a grace period."""
    return loops(program) or any(map(_waits, _statements(program)))


def loops(program: Program) -> bool:
    """Whether there is a loop, of the source or in what a primitive stands for."""
    return any(isinstance(stmt, Loop) for stmt in _statements(program))


def n_operations(program: Program) -> int:
    """How many operations there are in the source."""
    return sum(isinstance(stmt, Op) for stmt in _statements(program))


def unordered(program: Program) -> bool:
    """Whether some operands of an expression are in no order."""
    return any(isinstance(stmt, Op) and stmt.group for stmt in _statements(program))


def _statements(program: Program) -> Iterator[Stmt]:
    for function in expanded(program).functions.values():
        yield from walk(function.body)


def _waits(stmt: Stmt) -> bool:
    return isinstance(stmt, Op) and bool(PRIMS[stmt.prim].waits or PRIMS[stmt.prim].awaits)
