"""Where written-out threads stop: the locals that say so, and the statements that mind it."""

from __future__ import annotations

from collections.abc import Sequence

from mkold.ir.nodes import Assign, Binary, Const, Expr, If, Local, Op, Stmt

CUT, SAME = "$cut", "$same"
RCU_DEPTH, SRCU_DEPTH = "$rcu", "$srcu"
STRUCT = "$srcu.struct"  # the one that there is, once it was used
COOKIES = ("$cookie", "$cookie.below")  # of the SRCU sections that are open, innermost first
AT_LOCK, AT_GRACE, AT_SRCU = 1 << 20, 1 << 21, 1 << 22  # in CUT: not in a loop
CHOICES = 0x7F0000  # words that nothing else uses
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


def close_rcu() -> Body:
    """Leave the RCU sections that a thread which stopped is in."""
    return _close("rcu_read_unlock", RCU_DEPTH, [()] * len(COOKIES))


def close_srcu() -> Body:
    """Leave the SRCU sections that a thread which stopped is in."""
    cookies = [(Local(STRUCT), Local(cookie)) for cookie in COOKIES]
    return _close("srcu_read_unlock", SRCU_DEPTH, cookies)


def _close(prim: str, depth: str, each: Sequence[tuple[Expr, ...]]) -> Body:
    ends = tuple(
        If(Binary("ult", Const(i), Local(depth)), (Op(prim, (), args),))
        for i, args in enumerate(each)
    )
    return (If(Local(CUT), ends),)


def enter_srcu(struct: Expr, cookie: str) -> Body:
    """Remember the structure and the cookie of a section just entered."""
    inner, below = COOKIES
    return (Assign(STRUCT, struct), count(SRCU_DEPTH, 1),
            Assign(below, Local(inner)), Assign(inner, Local(cookie)))  # fmt: skip


def leave_srcu() -> Body:
    """The innermost section was left."""
    inner, below = COOKIES
    return count(SRCU_DEPTH, -1), Assign(inner, Local(below))
