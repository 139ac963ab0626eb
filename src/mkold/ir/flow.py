"""What is known at each point of a function: locals surely assigned, ends that are reached.

Rules
-----
* After an ``If`` a local is assigned if both branches that go on assign it.
* After a ``Loop`` it is assigned if every ``Break`` that leaves it comes after the
  assignment; a loop without a ``Break`` ends nowhere.
* What follows a jump in the same block is never reached, so nothing is said of it.
"""

from __future__ import annotations

from mkold.base.errors import Pos
from mkold.ir.nodes import (
    Assign,
    Break,
    Call,
    CallRcu,
    Continue,
    Expr,
    Function,
    If,
    Loop,
    Op,
    Return,
    Stmt,
    locals_of,
)

_Names = frozenset[str]


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that ``stmt`` itself evaluates."""
    match stmt:
        case Assign(value=value):
            return (value,)
        case Op(args=args) | Call(args=args):
            return args
        case CallRcu(argument=argument):
            return (argument,)
        case If(cond=cond):
            return (cond,)
        case Return(values=values):
            return values
        case _:
            return ()


def unassigned(function: Function) -> tuple[str, Pos | None] | None:
    """The first local that a path reads before it is assigned, and where; else ``None``."""
    try:
        _flow(function.body, frozenset(function.params), [])
    except _UnassignedError as found:
        return found.name, found.at
    return None


def falls_through(body: tuple[Stmt, ...]) -> bool:
    """Whether control can reach the end of ``body``."""
    for stmt in body:
        match stmt:
            case Return() | Break() | Continue():
                return False
            case If(then=then, orelse=orelse):
                if not falls_through(then) and not falls_through(orelse):
                    return False
            case Loop(body=inner):
                if not _has_break(inner):
                    return False
            case _:
                pass
    return True


class _UnassignedError(Exception):
    def __init__(self, name: str, at: Pos | None) -> None:
        super().__init__(name)
        self.name, self.at = name, at


def _flow(body: tuple[Stmt, ...], known: _Names, breaks: list[_Names]) -> _Names | None:
    """Locals assigned at the end of ``body``; ``None`` if the end is not reached.

    ``breaks`` collects what is known at each ``Break`` of the innermost loop.
    """
    for stmt in body:
        for expr in expressions(stmt):
            for name in locals_of(expr):
                if name not in known:
                    raise _UnassignedError(name, stmt.at)
        match stmt:
            case Assign(dst=dst):
                known |= {dst}
            case Op(dsts=dsts) | Call(dsts=dsts):
                known |= set(dsts)
            case If(then=then, orelse=orelse):
                ends = [_flow(then, known, breaks), _flow(orelse, known, breaks)]
                reached = [end for end in ends if end is not None]
                if not reached:
                    return None
                known = frozenset.intersection(*reached)
            case Loop(body=inner, step=step):
                exits: list[_Names] = []
                end = _flow(inner, known, exits)
                # A ``Continue`` reaches the step too, knowing at least ``known``.
                _flow(step, known if end is None or _has_continue(inner) else end, exits)
                if not exits:
                    return None
                known = frozenset.intersection(*exits)
            case Break():
                breaks.append(known)
                return None
            case Continue() | Return():
                return None
            case _:
                pass
    return known


def _has_break(body: tuple[Stmt, ...]) -> bool:
    """Whether a ``Break`` that can be reached leaves this loop (not one nested in it)."""
    return _has_jump(body, Break)


def _has_continue(body: tuple[Stmt, ...]) -> bool:
    return _has_jump(body, Continue)


def _has_jump(body: tuple[Stmt, ...], kind: type[Break] | type[Continue]) -> bool:
    for stmt in body:
        if isinstance(stmt, kind):
            return True
        if isinstance(stmt, If) and (
            _has_jump(stmt.then, kind) or _has_jump(stmt.orelse, kind)
        ):
            return True
    return False
