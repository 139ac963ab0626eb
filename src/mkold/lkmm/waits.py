"""What a program may wait for, and how large it is: seen from its text alone."""

from __future__ import annotations

from dataclasses import dataclass

from mkold.ir.nodes import Loop, Op, Stmt, walk
from mkold.ir.prims import PRIMS
from mkold.ir.program import Program


@dataclass(slots=True)
class Seen:
    """What there is in a program's text, and in what its primitives stand for.

    ``loops``: any. ``blocks``: a lock or a grace period to wait for. ``n_operations``: how
    many operations.
    """

    loops: bool = False
    blocks: bool = False
    n_operations: int = 0

    @property
    def may_wait(self) -> bool:
        """Whether a thread may go round a loop, or stand at a lock or in a grace period."""
        return self.loops or self.blocks

    def look(self, body: tuple[Stmt, ...]) -> None:
        """At every statement of ``body``."""
        for stmt in walk(body):
            if isinstance(stmt, Op):
                row = PRIMS[stmt.prim]
                if row.meaning is not None:
                    self.look(row.meaning(stmt))
                    continue
                self.n_operations += 1
                if row.waits or row.awaits:
                    self.blocks = True
            elif isinstance(stmt, Loop):
                self.loops = True


def seen(program: Program) -> Seen:
    """What there is in ``program``."""
    found = Seen()
    for function in program.functions.values():
        found.look(function.body)
    return found
