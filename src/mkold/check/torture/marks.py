"""Where each thread stands, so that one that is stuck is told with its place.

Before each round of a loop, and before each primitive that may wait, a thread writes the number
of the place into a word of its own, on a line of its own.

Known limits: of the code that a primitive is natively (a lock, say) the primitive is named,
not a line within.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath

import numpy as np

from mkold.base.errors import Pos
from mkold.ir.boot import LINE_WORDS
from mkold.ir.edit import map_statements
from mkold.ir.nodes import Binary, Const, Function, Local, Loop, Op, Stmt
from mkold.ir.prims import PRIMS

_CPU = "stands.cpu"


def words(n_threads: int) -> int:
    """How many words the marks of so many threads take."""
    return n_threads * LINE_WORDS


@dataclass(slots=True)
class Marks:
    """The places of some functions; ``start`` is where the threads' words begin."""

    start: int
    places: list[str] = field(default_factory=lambda: ["its start"])

    def put(
        self, functions: Mapping[str, Function], into: Collection[str]
    ) -> dict[str, Function]:
        """``functions`` with the marks put into some of them."""
        return {
            name: self._marked(function) if name in into else function
            for name, function in functions.items()
        }

    def of(self, words: np.ndarray, thread: int) -> str:
        """Where a thread stood last."""
        number = int(words[self.start + thread * LINE_WORDS])
        return self.places[number] if number < len(self.places) else "?"

    def _marked(self, function: Function) -> Function:
        def change(stmt: Stmt) -> tuple[Stmt, ...] | None:
            match stmt:
                case Loop(body, step):
                    mark = self._mark("a loop", function.name, stmt.at)
                    inner = map_statements(body, change), map_statements(step, change)
                    return (replace(stmt, body=(*mark, *inner[0]), step=inner[1]),)
                case Op(prim=prim) if _may_wait(prim):
                    return (*self._mark(f"{prim}()", function.name, stmt.at), stmt)
            return None

        return replace(function, body=map_statements(function.body, change))

    def _mark(self, what: str, function: str, at: Pos | None) -> tuple[Stmt, ...]:
        where = f", {PurePath(at.file).name}:{at.line}" if at else ""
        self.places.append(f"{what} of {function}{where}")
        line = Binary("mul", Local(_CPU), Const(LINE_WORDS))
        return (
            Op("smp_processor_id", (_CPU,), ()),
            Op("WRITE_ONCE", (), (Binary("add", Const(self.start), line),
                                  Const(len(self.places) - 1)), "stands"),
        )  # fmt: skip


def _may_wait(prim: str) -> bool:
    row = PRIMS[prim]
    return row.waits or bool(row.awaits) or row.meaning is not None
