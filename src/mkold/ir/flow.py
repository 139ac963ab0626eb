"""What is known at each point of a function: locals surely assigned, ends that are reached.

Rules
-----
* After an ``If`` a local is assigned if both branches that go on assign it.
* After a ``Block`` or ``Loop`` it is assigned if every way out comes after the assignment:
  each ``Break`` that leaves it and, of a block, its end. A loop that nothing leaves ends
  nowhere.
* A loop's ``step`` knows what its body's end and every ``Continue`` know.
* What follows a jump in the same block is never reached, so nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from mkold.base.errors import Pos
from mkold.ir.nodes import (
    Assign,
    Block,
    Break,
    Call,
    CallPtr,
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
    walk,
)
from mkold.ir.prims import PRIMS, VAL, Takes

_Names = frozenset[str]


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that ``stmt`` itself evaluates."""
    match stmt:
        case Assign(value=value):
            return (value,)
        case Op(args=args) | Call(args=args):
            return args
        case CallPtr(target=pointer, args=args):
            return (pointer, *args)
        case CallRcu(argument=argument):
            return (argument,)
        case If(cond=cond):
            return (cond,)
        case Return(values=values):
            return values
        case _:
            return ()


def reads(stmt: Stmt) -> Iterator[str]:
    """Names of the locals that ``stmt`` itself reads, with repeats."""
    row = PRIMS.get(stmt.prim) if isinstance(stmt, Op) else None
    own = VAL if row is not None and Takes.OVER_VAL in row.takes else ""
    for expr in expressions(stmt):
        yield from (name for name in locals_of(expr) if name != own)


def writes(stmt: Stmt) -> tuple[str, ...]:
    """Names of the locals that ``stmt`` itself assigns."""
    match stmt:
        case Assign(dst=dst):
            return (dst,)
        case Op(dsts=dsts) | Call(dsts=dsts) | CallPtr(dsts=dsts):
            return dsts
        case _:
            return ()


class Scope(Protocol):
    """A block or loop around a statement, as a reading keeps it."""

    @property
    def label(self) -> str: ...

    @property
    def is_loop(self) -> bool: ...


_Scope = TypeVar("_Scope", bound=Scope)


def target(scopes: Sequence[_Scope], label: str) -> _Scope | None:
    """The one of ``scopes``, outermost first, that a jump with ``label`` means."""
    for scope in reversed(scopes):
        if scope.label == label if label else scope.is_loop:
            return scope
    return None


def unassigned(function: Function) -> tuple[str, Pos | None] | None:
    """The first local that a path reads before it is assigned, and where; else ``None``."""
    found = _Walk()
    found.block(function.body, frozenset(function.params))
    return found.missing[0] if found.missing else None


def falls_through(body: tuple[Stmt, ...]) -> bool:
    """Whether control can reach the end of ``body``."""
    return _Walk().block(body, frozenset()) is not None


def is_endless(loop: Loop) -> bool:
    """Whether nothing leads out of ``loop``."""
    found = _Walk()
    left = found.statement(loop, frozenset()) is not None or bool(found.left)
    return not left and not any(isinstance(stmt, Return) for stmt in walk(loop.body))


def taken_over(loop: Loop) -> _Names:
    """Locals that a round of ``loop`` may read before it assigns them."""
    found = _Walk()
    found.statement(loop, frozenset())
    return frozenset(name for name, _ in found.missing)


def stale_when_left(loop: Loop, names: _Names) -> _Names:
    """Those of ``names`` that may leave ``loop`` with what an earlier round gave them."""
    found = _Walk()
    end = found.statement(loop, frozenset())
    known = _meet([end, *found.left])
    return frozenset() if known is None else names - known


@dataclass(slots=True)
class _Way:
    """What is known where control leaves a block or loop, or goes on to a loop's step."""

    label: str
    is_loop: bool
    breaks: list[_Names] = field(default_factory=list)
    continues: list[_Names] = field(default_factory=list)


class _Walk:
    """Follows every path; ``missing`` are the reads of locals not yet assigned.

    ``left`` is what is known where control leaves all that is followed, but by a return.
    """

    def __init__(self) -> None:
        self.missing: list[tuple[str, Pos | None]] = []
        self.left: list[_Names] = []
        self._ways: list[_Way] = []

    def block(self, body: tuple[Stmt, ...], known: _Names) -> _Names | None:
        """Locals assigned at the end of ``body``; ``None`` if the end is not reached."""
        for stmt in body:
            after = self.statement(stmt, known)
            if after is None:
                return None
            known = after
        return known

    def statement(self, stmt: Stmt, known: _Names) -> _Names | None:
        """As ``block``, for one statement."""
        self.missing += [(name, stmt.at) for name in reads(stmt) if name not in known]
        match stmt:
            case If(then=then, orelse=orelse):
                return _meet([self.block(then, known), self.block(orelse, known)])
            case Block(body=body, label=label):
                self._ways.append(_Way(label, is_loop=False))
                end = self.block(body, known)
                return _meet([end, *self._ways.pop().breaks])
            case Loop(body=body, step=step, label=label):
                self._ways.append(_Way(label, is_loop=True))
                end = _meet([self.block(body, known), *self._ways[-1].continues])
                if end is not None:
                    self.block(step, end)
                return _meet(self._ways.pop().breaks)
            case Break(label=label) | Continue(label=label):
                way = target(self._ways, label)
                jumps = isinstance(stmt, Break)
                into = self.left if way is None else way.breaks if jumps else way.continues
                into.append(known)
                return None
            case Return():
                return None
            case _:
                return known.union(writes(stmt))


def _meet(ends: Sequence[_Names | None]) -> _Names | None:
    reached = [end for end in ends if end is not None]
    return frozenset.intersection(*reached) if reached else None
