"""Control flow: branches, short circuits, loops, and the jumps out of them.

Rules
-----
* ``and``, ``or`` and a choice become pure expressions if their parts touch no memory, else
  branches; so nothing is read that the source would not have read.
* A front end gives what is conditional as a function that builds it.
* A loop may have an ``orelse``, which runs when its test fails and not when it is left by
  a jump: Python's ``else``; C has none. A block is left by jumps only: C's ``switch``, or
  a label that ``goto`` leads down to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mkold.base.errors import Pos
from mkold.ir.nodes import Assign, Block, Break, Const, Continue, If, Local, Loop, Stmt
from mkold.lang.meaning.arithmetic import chosen, unified
from mkold.lang.meaning.builder import Builder, Jumps
from mkold.lang.meaning.convert import truth
from mkold.lang.meaning.values import ONE, ZERO, Value, binary, negated
from mkold.lang.types.words import BOOL

Part = Callable[[], Value]
Body = Callable[[], None]
# A chain of more conditions is written flat, so that nobody who walks it runs out of stack.
MAX_CHAIN = 40


def joined(b: Builder, left: Value, right: Part, at: Pos, *, is_and: bool) -> Value:
    """``left and right`` or ``left or right``: 0 or 1; ``right`` is built if it is needed."""
    with b.block() as stmts:
        value = right()
    if not stmts:
        left = b.shallow(left)
        expr = binary("and" if is_and else "or", truth(left), truth(value))
        exact = None
        if left.exact is not None and value.exact is not None:
            both = (left.exact != 0, value.exact != 0)
            exact = int(all(both) if is_and else any(both))
        return Value(expr, BOOL, at, exact, 1 + max(left.depth, value.depth))
    dst = b.temporary("and" if is_and else "or", BOOL)
    stmts.append(Assign(dst, truth(value), value.at))
    known: tuple[Stmt, ...] = (Assign(dst, ZERO if is_and else ONE, value.at),)
    then, orelse = (tuple(stmts), known) if is_and else (known, tuple(stmts))
    b.emit(If(left.expr, then, orelse, at))
    return Value(Local(dst), BOOL, at)


def choice(b: Builder, cond: Value, yes: Part, no: Part, at: Pos) -> Value:
    """``yes`` if ``cond`` else ``no``; the other is not built into what runs."""
    with b.block() as then:
        x = yes()
    with b.block() as orelse:
        y = no()
    if not then and not orelse:
        return chosen(b, cond, x, y, at)
    x, y, type_ = unified(b, x, y, at)
    dst = b.temporary("choice", type_)
    then.append(Assign(dst, x.expr, x.at))
    orelse.append(Assign(dst, y.expr, y.at))
    b.emit(If(cond.expr, tuple(then), tuple(orelse), at))
    return Value(Local(dst), type_, at)


def branch(b: Builder, cond: Value, then: Body, orelse: Body, at: Pos) -> None:
    """``if``."""
    with b.block() as yes:
        then()
    with b.block() as no:
        orelse()
    b.emit(If(cond.expr, tuple(yes), tuple(no), at))


@dataclass(frozen=True, slots=True)
class Arm:
    """One ``if`` or ``elif``: its test, its body, where the test stands."""

    test: Part
    body: Body
    at: Pos


def chain(b: Builder, arms: list[Arm], orelse: Body, at: Pos) -> None:
    """``if``, ``elif`` ..., ``else``: the body of the first arm whose test holds."""
    if len(arms) > MAX_CHAIN:
        _flat(b, arms, orelse, at)
        return
    first, *others = arms
    rest = (lambda: chain(b, others, orelse, at)) if others else orelse
    branch(b, first.test(), first.body, rest, first.at)


def _flat(b: Builder, arms: list[Arm], orelse: Body, at: Pos) -> None:
    label = b.unique("chain")
    with b.block() as stmts:
        for arm in arms:
            cond = arm.test()
            with b.block() as body:
                arm.body()
                b.emit(Break(arm.at, label))
            b.emit(If(cond.expr, tuple(body), (), arm.at))
        orelse()
    b.emit(Block(label, tuple(stmts), at))


@dataclass(frozen=True, slots=True)
class Parts:
    """A loop.

    Attributes
    ----------
    test : before each round; ``None``: always true
    last : after each round (C's ``do``); ``None``: always true
    step : between rounds; nothing in it jumps
    orelse : when a test fails
    """

    body: Body
    test: Part | None = None
    last: Part | None = None
    step: Body | None = None
    orelse: Body | None = None


def loop(b: Builder, parts: Parts, at: Pos) -> None:
    """A loop."""
    out = b.unique("loop") if parts.orelse is not None else ""
    round_ = b.unique("round") if parts.last is not None else ""
    b.jumps.append(Jumps(True, out, round_))
    with b.block() as stmts:
        if parts.test is not None:
            leave_unless(b, parts.test())
        with b.block() as body:
            parts.body()
        for stmt in [Block(round_, tuple(body), at)] if round_ else body:
            b.emit(stmt)
        if parts.last is not None:
            leave_unless(b, parts.last())
    with b.block() as step:
        if parts.step is not None:
            parts.step()
    b.jumps.pop()
    made = Loop(tuple(stmts), tuple(step), at)
    if parts.orelse is None:
        b.emit(made)
        return
    with b.block() as rest:
        parts.orelse()
    b.emit(Block(out, (made, *rest), at))


def leave_unless(b: Builder, cond: Value) -> None:
    """Leave the innermost loop, as its test does, unless ``cond`` holds."""
    if not (isinstance(cond.expr, Const) and cond.expr.value):
        b.emit(If(negated(cond.expr), (Break(cond.at),), (), cond.at))


def block(b: Builder, body: Body, at: Pos) -> None:
    """Statements that ``break`` leaves and that run once: C's ``switch``."""
    label = b.unique("block")
    around = b.jumps[-1] if b.jumps else Jumps(False)
    b.jumps.append(Jumps(around.is_loop, label, around.again))
    with b.block() as stmts:
        body()
    b.jumps.pop()
    b.emit(Block(label, tuple(stmts), at))


def leave(b: Builder, at: Pos) -> None:
    """``break``: out of the loop or block around.

    Raises
    ------
    SourceError : there is none
    """
    if not b.jumps:
        raise b.error(at, "break outside of a loop")
    b.emit(Break(at, b.jumps[-1].out))


def again(b: Builder, at: Pos) -> None:
    """``continue``: on to the next round of the loop around.

    Raises
    ------
    SourceError : there is none
    """
    if not b.jumps or not b.jumps[-1].is_loop:
        raise b.error(at, "continue outside of a loop")
    label = b.jumps[-1].again
    b.emit(Break(at, label) if label else Continue(at))
