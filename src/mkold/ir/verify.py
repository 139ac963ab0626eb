"""Checks the rules of the form (stated in ``nodes``); run after every pass.

A failure is a bug of the pass before it, so it raises ``AssertionError``, not a user's
error.
"""

from __future__ import annotations

from collections.abc import Mapping

from mkold.ir.flow import expressions as expressions
from mkold.ir.flow import falls_through, unassigned
from mkold.ir.nodes import (
    BINARY,
    UNARY,
    WORD_MASK,
    Binary,
    Break,
    Call,
    CallRcu,
    Const,
    Continue,
    Expr,
    Function,
    If,
    Loop,
    Op,
    Return,
    Select,
    Stmt,
    Unary,
    walk,
)
from mkold.ir.prims import PRIMS


def verify(functions: Mapping[str, Function]) -> None:
    """Check every function, calls between them, and that there is no recursion."""
    for name, function in functions.items():
        _require(name == function.name, function, "is filed under another name")
        verify_function(function, functions)
    _verify_no_recursion(functions)


def verify_function(function: Function, functions: Mapping[str, Function]) -> None:
    """Check one function against the rules and against the ones it calls."""
    for stmt in walk(function.body):
        for expr in expressions(stmt):
            _verify_expr(expr, function)
        if isinstance(stmt, Op):
            _verify_op(stmt, function)
        elif isinstance(stmt, Call):
            _verify_call(stmt, function, functions)
        elif isinstance(stmt, CallRcu):
            callee = functions.get(stmt.function)
            _require(callee is not None, function, f"call_rcu of {stmt.function}")
            assert callee is not None
            _require(len(callee.params) == 1, function, f"{callee.name} takes one word")
        elif isinstance(stmt, Return):
            _require(
                len(stmt.values) == function.n_results,
                function,
                f"returns {len(stmt.values)} values, not {function.n_results}",
            )
        elif isinstance(stmt, Loop):
            _verify_step(stmt.step, function)
    _verify_jumps(function.body, function, in_loop=False)
    missing = unassigned(function)
    _require(missing is None, function, f"reads {missing} before assigned")
    if function.n_results:
        _require(not falls_through(function.body), function, "can end without a return")


def _require(condition: bool, function: Function, reason: str) -> None:
    if not condition:
        raise AssertionError(f"intermediate form of {function.name}: {reason}")


def _verify_expr(expr: Expr, function: Function) -> None:
    match expr:
        case Const(value):
            _require(0 <= value <= WORD_MASK, function, f"constant {value} is no word")
        case Unary(op, a):
            _require(op in UNARY, function, f"unknown operator {op}")
            _verify_expr(a, function)
        case Binary(op, a, b):
            _require(op in BINARY, function, f"unknown operator {op}")
            _verify_expr(a, function)
            _verify_expr(b, function)
        case Select(cond, a, b):
            for part in (cond, a, b):
                _verify_expr(part, function)
        case _:
            pass


def _verify_op(op: Op, function: Function) -> None:
    row = PRIMS.get(op.prim)
    _require(row is not None, function, f"unknown primitive {op.prim}")
    assert row is not None
    _require(len(op.args) == row.n_args, function, f"arguments of {op.prim}")
    _require(len(op.dsts) in (0, row.n_dsts), function, f"results of {op.prim}")


def _verify_call(call: Call, function: Function, functions: Mapping[str, Function]) -> None:
    callee = functions.get(call.function)
    _require(callee is not None, function, f"call of unknown {call.function}")
    assert callee is not None
    _require(len(call.args) == len(callee.params), function, f"arguments of {callee.name}")
    _require(len(call.dsts) in (0, callee.n_results), function, f"results of {callee.name}")


def _verify_jumps(body: tuple[Stmt, ...], function: Function, *, in_loop: bool) -> None:
    for stmt in body:
        match stmt:
            case Break() | Continue():
                _require(in_loop, function, "break or continue outside a loop")
            case If(then=then, orelse=orelse):
                _verify_jumps(then, function, in_loop=in_loop)
                _verify_jumps(orelse, function, in_loop=in_loop)
            case Loop(body=inner):
                _verify_jumps(inner, function, in_loop=True)
            case _:
                pass


def _verify_step(step: tuple[Stmt, ...], function: Function) -> None:
    for stmt in walk(step):
        _require(not isinstance(stmt, Break | Continue | Return), function, "jump in a step")


def _verify_no_recursion(functions: Mapping[str, Function]) -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        _require(name not in path, functions[name], "recursion")
        if name in done:
            return
        for stmt in walk(functions[name].body):
            if isinstance(stmt, Call):
                visit(stmt.function, (*path, name))
        done.add(name)

    for name in functions:
        visit(name, ())
