"""Programs as trees of statements, in no language yet.

A place is a word of shared memory: a letter (``x``), an element of an array (``a`` and an
index), or what a pointer register points to (``p1``). Registers are locals: ``r1`` to ``r3``
hold numbers, ``p1`` a pointer, ``i`` counts. Conditions and values are text that kernel Python
and C both read, over registers and small numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Place:
    """The word ``name`` points to, or the one ``index`` words behind it."""

    name: str
    index: str = ""


@dataclass(frozen=True, slots=True)
class Pointer:
    """As a value: the address of ``name``, or what the pointer register holds; 0: NULL."""

    name: str


@dataclass(frozen=True, slots=True)
class Use:
    """``dsts = prim(place, args)``; the arguments in the order of the primitive's row."""

    prim: str
    dsts: tuple[str, ...] = ()
    place: Place | None = None
    args: tuple[str | Pointer, ...] = ()


@dataclass(frozen=True, slots=True)
class Cond:
    """``left op right``; ``left`` is a register, or a use whose result is compared."""

    left: str | Use
    op: str
    right: str


@dataclass(frozen=True, slots=True)
class Let:
    dst: str
    value: str


@dataclass(frozen=True, slots=True)
class Jump:
    """``break``, ``continue`` or ``return``."""

    word: str


@dataclass(frozen=True, slots=True)
class Free:
    """The object at ``place`` is freed: now, or by ``call_rcu``."""

    name: str
    later: bool = False


@dataclass(frozen=True, slots=True)
class Reuse:
    """The object is given out again and set to ``word``."""

    name: str
    word: str


@dataclass(frozen=True, slots=True)
class If:
    cond: Cond
    then: Body
    orelse: Body = ()


@dataclass(frozen=True, slots=True)
class While:
    """``cond`` is None: for ever, until a jump leaves it. ``after``: asked after each round."""

    cond: Cond | None
    body: Body
    after: bool = False


@dataclass(frozen=True, slots=True)
class For:
    """``i`` from 0 to ``n - 1``."""

    n: int
    body: Body


@dataclass(frozen=True, slots=True)
class Section:
    """``enter``, ``body``, ``leave``; of which the last may be missing."""

    enter: Use
    body: Body
    leave: Use | None


@dataclass(frozen=True, slots=True)
class Helper:
    """``dst = helper(place)``: a function of its own with a body, which returns ``r1``."""

    dst: str
    body: Body


Stmt = (
    Use | Let | Jump | Free | Reuse | If | While | For | Section | Helper
)  # what threads are made of
Body = tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A program; ``init``: words by letter, numbers or the letter of another's address."""

    threads: tuple[Body, ...]
    init: tuple[tuple[str, int | str], ...] = ()
    bad: tuple[int, int] = (-1, -1)  # r1 of the first threads, which must never be


def bodies(stmt: Stmt) -> tuple[Body, ...]:
    """The bodies in ``stmt``."""
    match stmt:
        case If(_, then, orelse):
            return (then, orelse)
        case While(body=body) | For(body=body) | Section(body=body) | Helper(body=body):
            return (body,)
        case _:
            return ()


def with_bodies(stmt: Stmt, new: tuple[Body, ...]) -> Stmt:
    """``stmt`` with other bodies."""
    match stmt:
        case If():
            return replace(stmt, then=new[0], orelse=new[1])
        case While() | For() | Section() | Helper():
            return replace(stmt, body=new[0])
        case _:
            return stmt


def walk(body: Body) -> Iterator[Stmt]:
    """Every statement, outer before inner."""
    for stmt in body:
        yield stmt
        for inner in bodies(stmt):
            yield from walk(inner)


def uses(body: Body) -> Iterator[Use]:
    """Every use of a primitive."""
    for stmt in walk(body):
        match stmt:
            case Use():
                yield stmt
            case If(cond=Cond(left=Use() as use)) | While(cond=Cond(left=Use() as use)):
                yield use
            case Section(enter=enter, leave=leave):
                yield enter
                if leave is not None:
                    yield leave
