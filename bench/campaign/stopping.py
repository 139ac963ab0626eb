"""Where written-out threads stop: the locals that say so, and the statements that mind it."""

from __future__ import annotations

from mkold.ir.nodes import Assign, Binary, Const, Expr, If, Local, Op, Stmt

CUT, SAME = "$cut", "$same"
RCU_DEPTH, SRCU_DEPTH, COOKIE = "$rcu", "$srcu", "$cookie"
AT_LOCK, AT_GRACE, AT_SRCU = 1 << 20, 1 << 21, 1 << 22  # in CUT: not in a loop
CHOICES = 0x7F0000  # words that nothing else uses
MOST_DEPTH = 2
Body = tuple[Stmt, ...]


def going_on(rest: Body) -> Stmt:
    return If(Binary("eq", Local(CUT), Const(0)), rest)


def saved(number: int, name: str) -> str:
    return f"$saved{number}.{name}"


def count(depth: str, step: int) -> Stmt:
    """One more, or one less if there are any."""
    now = Local(depth)
    if step > 0:
        return Assign(depth, Binary("add", now, Const(1)))
    return Assign(depth, Binary("sub", now, Binary("ult", Const(0), now)))


def close(prim: str, depth: str, args: tuple[Expr, ...]) -> Body:
    """Leave the sections that a thread which stopped is in."""
    ends = tuple(
        If(Binary("ult", Const(i), Local(depth)), (Op(prim, (), args),))
        for i in range(MOST_DEPTH)
    )
    return (If(Local(CUT), ends),)
