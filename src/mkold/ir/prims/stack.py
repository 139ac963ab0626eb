"""The stack of a CPU: words for locals whose address is taken.

What is taken and what is given back is poisoned, so a local read before it is written is
seen, and so is one that outlives its function. Front ends put ``stack_free`` before every
return of a function that has such words; its callees' are gone by then.

Known limit: 511 words a CPU; more is a bug that is reported.
"""

from __future__ import annotations

from mkold.ir.boot import STACK_WORDS, STACKS
from mkold.ir.nodes import Assign, Binary, Const, Expr, Local, Op, Stmt
from mkold.ir.prims.row import Gives, Prim, Shape, Takes

_OWN = "mkold's own: locals in memory"


def _line(op: Op) -> tuple[list[Stmt], Local]:
    """The address of this CPU's stack."""
    cpu, line = Local(f"{op.prim}.cpu"), Local(f"{op.prim}.line")
    start = Binary("mul", cpu, Const(STACK_WORDS))
    return [
        Op("smp_processor_id", (cpu.name,), (), "", op.at),
        Assign(line.name, Binary("add", start, Const(STACKS)), op.at),
    ], line


def _alloc(op: Op) -> tuple[Stmt, ...]:
    (n,) = op.args
    (frame,) = op.dsts
    body, line = _line(op)
    used = Local(f"{op.prim}.used")
    end: Expr = Binary("add", used, n)
    return (
        *body,
        Op("load", (used.name,), (line,), "stack", op.at),
        Op("BUG_ON", (), (Binary("ult", Const(STACK_WORDS - 1), end),), "stack", op.at),
        Op("store", (), (line, end), "stack", op.at),
        Assign(frame, Binary("add", Binary("add", line, used), Const(1)), op.at),
        Op("unpoison", (), (Local(frame), n), "stack", op.at),
    )


def _free(op: Op) -> tuple[Stmt, ...]:
    frame, n = op.args
    body, line = _line(op)
    left = Binary("sub", Binary("sub", frame, line), Const(1))
    return (
        Op("poison", (), (frame, n), "stack", op.at),
        *body,
        Op("store", (), (line, left), "stack", op.at),
    )


ROWS = [
    Prim(name="stack_alloc", shape=Shape.OTHERS, takes=(Takes.COUNT,), gives=(Gives.WORD,),
         ends="stack_free", meaning=_alloc, source=_OWN),
    Prim(name="stack_free", shape=Shape.OTHERS, takes=(Takes.COOKIE, Takes.COUNT),
         meaning=_free, source=_OWN),
]  # fmt: skip
