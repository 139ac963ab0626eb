"""Statements and functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mkold.base.errors import Pos
from mkold.ir.nodes.expressions import Expr, FunctionWord
from mkold.ir.nodes.words import WORD_BITS


@dataclass(frozen=True, slots=True)
class Assign:
    """``dst = value``."""

    dst: str
    value: Expr
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Op:
    """One primitive of ``mkold.ir.prims``: ``dsts = prim(args)``.

    For a primitive on memory ``args[0]`` is the word address. ``what`` is the lvalue as
    the source wrote it (``kvm.radix``), for pictures. ``width`` is that of the object in
    bits; with a ``shift`` it is a part of a larger word, from that bit on, else it has a
    word of its own (see ``mkold.ir.access``), which holds it extended by its sign where it is
    ``signed`` (litmus tests alone have that). Operations of one ``group`` (not 0) are of one C
    expression: they are in no order but that of what they depend on.
    """

    prim: str
    dsts: tuple[str, ...] = ()
    args: tuple[Expr, ...] = ()
    what: str = field(default="", compare=False)
    at: Pos | None = field(default=None, compare=False)
    width: int = WORD_BITS
    shift: int | None = None
    signed: bool = False
    group: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """``dsts = function(args)``; ``dsts`` is empty or as long as the results."""

    function: str
    dsts: tuple[str, ...] = ()
    args: tuple[Expr, ...] = ()
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class CallPtr:
    """``dsts = (*target)(args)``: a call through a pointer.

    ``members`` are all the functions that the pointer may mean, known when a program is
    put together. A word that is none of theirs calls nothing: that is a bug, and every
    reading says so. ``what`` is the pointer as the source wrote it; ``signature`` the types
    of what it points to, by which ``ir.module`` finds the members.
    """

    target: Expr
    members: tuple[FunctionWord, ...] = ()
    dsts: tuple[str, ...] = ()
    args: tuple[Expr, ...] = ()
    what: str = field(default="", compare=False)
    at: Pos | None = field(default=None, compare=False)
    signature: str = ""


@dataclass(frozen=True, slots=True)
class CallRcu:
    """``call_rcu``: run ``function(argument)`` once a grace period has passed.

    ``function`` takes one word and returns nothing. Under LKMM it is a process of its
    own that starts after this statement and waits for a grace period first.
    """

    function: str
    argument: Expr
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class If:
    cond: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...] = ()
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Block:
    """``body``, which ``Break(label=label)`` leaves."""

    label: str
    body: tuple[Stmt, ...]
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Loop:
    """``for (;;) { body; step; }``, left by ``Break`` or ``Return``; ``label`` if not empty."""

    body: tuple[Stmt, ...]
    step: tuple[Stmt, ...] = ()
    at: Pos | None = field(default=None, compare=False)
    label: str = ""


@dataclass(frozen=True, slots=True)
class Break:
    """Leave the block or loop called ``label``; the innermost loop if it is empty."""

    at: Pos | None = field(default=None, compare=False)
    label: str = ""


@dataclass(frozen=True, slots=True)
class Continue:
    """On to the step of the loop called ``label``; of the innermost loop if it is empty."""

    at: Pos | None = field(default=None, compare=False)
    label: str = ""


@dataclass(frozen=True, slots=True)
class Return:
    values: tuple[Expr, ...] = ()
    at: Pos | None = field(default=None, compare=False)


Stmt = Assign | Op | Call | CallPtr | CallRcu | If | Block | Loop | Break | Continue | Return


@dataclass(frozen=True, slots=True)
class Function:
    """One function.

    ``name`` is unique in its program (kernel Python: ``module.function`` only where two
    modules clash). ``types`` maps locals and parameters to the type text the source gave
    (``"Ptr[Kvm]"``), for people only. ``n_results`` words come back.
    """

    name: str
    params: tuple[str, ...]
    body: tuple[Stmt, ...]
    n_results: int = 0
    types: Mapping[str, str] = field(default_factory=dict, compare=False)
    at: Pos | None = field(default=None, compare=False)


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement of ``body``, outer before inner, in source order."""
    waiting = list(body[::-1])
    while waiting:
        stmt = waiting.pop()
        yield stmt
        match stmt:
            case If(then=then, orelse=orelse):
                waiting += orelse[::-1]
                waiting += then[::-1]
            case Block(body=inner):
                waiting += inner[::-1]
            case Loop(body=inner, step=step):
                waiting += step[::-1]
                waiting += inner[::-1]
            case _:
                pass


def callees(stmt: Stmt) -> tuple[str, ...]:
    """Names of the functions that ``stmt`` itself may call, now or after a grace period."""
    match stmt:
        case Call(function=function) | CallRcu(function=function):
            return (function,)
        case CallPtr(members=members):
            return tuple(member.name for member in members)
        case _:
            return ()
