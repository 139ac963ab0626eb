"""Reads loops: ``while``, and ``for`` over ``range``.

A loop over ``range`` counts in a local of its own, so that the body may assign to the
loop's variable, as in Python. It must not wrap around; with a negative step an unsigned
range compares as signed numbers, so ``range(n - 1, -1, -1)`` works.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace

from mkold.ir.nodes import Assign, Const, Local
from mkold.lang.meaning import arithmetic, control, places
from mkold.lang.meaning.convert import to_number
from mkold.lang.meaning.values import Value, binary, word
from mkold.lang.python.frame import Frame
from mkold.lang.types.words import BOOL, S64, U64, Word

Statements = Callable[[list[ast.stmt]], None]


def while_loop(f: Frame, node: ast.While, read: Statements) -> None:
    """``while``; ``read`` reads statements."""
    parts = control.Parts(
        body=lambda: read(node.body),
        test=lambda: f.value(node.test),
        orelse=(lambda: read(node.orelse)) if node.orelse else None,
    )
    control.loop(f.b, parts, f.pos(node))


def for_loop(f: Frame, node: ast.For, read: Statements) -> None:
    """``for i in range(...)``."""
    target = node.target
    if not isinstance(target, ast.Name):
        raise f.error(target, "a loop has one variable")
    b, at = f.b, f.pos(node.iter)
    start, stop, step = _range(f, node.iter)
    type_ = start.type
    assert isinstance(type_, Word)
    counter = b.temporary(target.id, type_)
    b.emit(Assign(counter, start.expr, at))
    if not isinstance(stop.expr, Const):
        stop = b.saved(stop)
    now = Value(Local(counter), type_, f.pos(target))

    def test() -> Value:
        signed = type_.signed or step < 0
        pair = (now.expr, stop.expr) if step > 0 else (stop.expr, now.expr)
        return Value(binary("slt" if signed else "ult", *pair), BOOL, at)

    def body() -> None:
        places.assign(b, target.id, replace(now, at=at), at, in_memory=target.id in f.in_memory)
        read(node.body)

    def advance() -> None:
        b.emit(Assign(counter, binary("add", Local(counter), word(step)), at))

    orelse = (lambda: read(node.orelse)) if node.orelse else None
    control.loop(b, control.Parts(body, test, None, advance, orelse), f.pos(node))


def _range(f: Frame, node: ast.expr) -> tuple[Value, Value, int]:
    """First number, end and step, the numbers at one type."""
    if not (isinstance(node, ast.Call) and f.static(node.func) is range and not node.keywords):
        raise f.error(node, "a for loop runs over range(...) only", "for i in range(n):")
    if not 1 <= len(node.args) <= 3:
        raise f.error(node, "range takes one to three words")
    values = [f.value(arg) for arg in node.args]
    step = 1
    if len(values) == 3:
        given = values[2].exact
        if not given or abs(given) > S64.most:
            hint = "write a while loop for another step"
            reason = "the step of a range is a constant other than 0"
            raise f.error(node.args[2], reason, hint)
        step = given
    at = f.pos(node)
    start = values[0] if len(values) > 1 else arithmetic.number(f.b, 0, at)
    stop = values[0] if len(values) == 1 else values[1]
    for value in (start, stop):
        if not isinstance(value.type, Word):
            raise f.error(node, f"a range counts numbers, and this is {value.type}")
    start, stop, type_ = arithmetic.unified(f.b, start, stop, at)
    assert isinstance(type_, Word)
    if type_.bits == BOOL.bits or (step < 0 and not type_.signed and type_.bits < U64.bits):
        return to_number(f.b, start, S64), to_number(f.b, stop, S64), step
    return start, stop, step
