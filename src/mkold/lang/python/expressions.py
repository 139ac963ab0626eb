"""Reads expressions: operators, comparisons, choices."""

from __future__ import annotations

import ast
from functools import partial

from mkold.lang.meaning import arithmetic, control
from mkold.lang.meaning.calls import Into
from mkold.lang.meaning.values import Operand, Value
from mkold.lang.python import calls, names
from mkold.lang.python.frame import Frame
from mkold.lang.python.refuse import (
    OPERATORS,
    REFUSED_COMPARISONS,
    REFUSED_OPERATORS,
    refusal,
)

_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge",
}  # fmt: skip


def operand(f: Frame, node: ast.expr, into: Into) -> Operand:
    """A value, a place, or the results of a call."""
    match node:
        case ast.Constant():
            return names.constant(f, node)
        case ast.Name():
            return names.named(f, node)
        case ast.Attribute():
            return names.attribute(f, node)
        case ast.Subscript():
            return names.subscript(f, node)
        case ast.UnaryOp():
            return _unary(f, node)
        case ast.BinOp():
            return _binary(f, node)
        case ast.Compare():
            return _compare(f, node)
        case ast.BoolOp():
            return _bool_op(f, node)
        case ast.IfExp():
            return _if_exp(f, node)
        case ast.Call():
            return calls.call(f, node, into)
    raise f.error(node, *refusal(node))


def operator(f: Frame, op: ast.operator, node: ast.AST) -> str:
    """The operator's name in ``meaning``.

    Raises
    ------
    SourceError : it is not in kernel Python
    """
    if type(op) in REFUSED_OPERATORS:
        raise f.error(node, *REFUSED_OPERATORS[type(op)])
    return OPERATORS[type(op)]


def _unary(f: Frame, node: ast.UnaryOp) -> Value:
    a, at = f.value(node.operand), f.pos(node)
    match node.op:
        case ast.Not():
            return arithmetic.refused(a, at)
        case ast.USub():
            return arithmetic.negative(f.b, a, at)
        case ast.Invert():
            return arithmetic.inverted(f.b, a, at)
        case _:
            return arithmetic.positive(f.b, a, at)


def _binary(f: Frame, node: ast.BinOp) -> Value:
    """Left to right without recursion: a sum may have thousands of terms."""
    spine = [node]
    while isinstance(spine[-1].left, ast.BinOp):
        spine.append(spine[-1].left)
    for inner in spine:
        operator(f, inner.op, inner)
    value = f.value(spine[-1].left)
    for inner in reversed(spine):
        op = operator(f, inner.op, inner)
        value = arithmetic.operate(f.b, op, value, f.value(inner.right), f.pos(inner))
    return value


def _compare(f: Frame, node: ast.Compare) -> Value:
    for op in node.ops:
        if type(op) in REFUSED_COMPARISONS:
            raise f.error(node, *REFUSED_COMPARISONS[type(op)])
    at = f.pos(node)
    left, right = f.value(node.left), f.value(node.comparators[0])
    result = arithmetic.compare(f.b, _COMPARE[type(node.ops[0])], left, right, at)
    for op, comparator in zip(node.ops[1:], node.comparators[1:], strict=True):
        before = right

        def next_one(
            op: ast.cmpop = op, comparator: ast.expr = comparator, before: Value = before
        ) -> Value:
            nonlocal right
            right = f.value(comparator)
            return arithmetic.compare(f.b, _COMPARE[type(op)], before, right, at)

        result = control.joined(f.b, result, next_one, at, is_and=True)
    return result


def _bool_op(f: Frame, node: ast.BoolOp) -> Value:
    is_and = isinstance(node.op, ast.And)
    result = f.value(node.values[0])
    for part in node.values[1:]:
        result = control.joined(f.b, result, partial(f.value, part), f.pos(node), is_and=is_and)
    return result


def _if_exp(f: Frame, node: ast.IfExp) -> Value:
    cond = f.value(node.test)
    return control.choice(
        f.b, cond, lambda: f.value(node.body), lambda: f.value(node.orelse), f.pos(node)
    )
