"""Checks the rules of the form (stated in ``nodes``); run after every pass.

A failure is a bug of the pass before it, so it raises ``AssertionError``, not a user's
error.
"""

from __future__ import annotations

from collections.abc import Mapping

from mkold.ir.nodes import (
    BINARY,
    UNARY,
    WORD_MASK,
    Assign,
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
    locals_of,
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
    known, falls_through = _flow(
        function.body, frozenset(function.params), function, in_loop=False
    )
    del known
    if function.n_results:
        _require(not falls_through, function, "can end without a return")


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


_Names = frozenset[str]


def _flow(
    body: tuple[Stmt, ...], known: _Names, function: Function, *, in_loop: bool
) -> tuple[_Names, bool]:
    """Assigned-before-read; returns the names known at the end and whether it is reached."""
    for stmt in body:
        for expr in expressions(stmt):
            missing = set(locals_of(expr)) - known
            _require(not missing, function, f"reads {sorted(missing)} before assigned")
        match stmt:
            case Assign(dst=dst):
                known |= {dst}
            case Op(dsts=dsts) | Call(dsts=dsts):
                known |= set(dsts)
            case If(then=then, orelse=orelse):
                a, a_ends = _flow(then, known, function, in_loop=in_loop)
                b, b_ends = _flow(orelse, known, function, in_loop=in_loop)
                if not (a_ends or b_ends):
                    return known, False
                known = (a & b) if a_ends and b_ends else (a if a_ends else b)
            case Loop(body=inner, step=step):
                _flow(inner, known, function, in_loop=True)
                _verify_step(step, function)
                if not _has_break(inner):
                    return known, False
            case Break() | Continue():
                _require(in_loop, function, "break or continue outside a loop")
                return known, False
            case Return():
                return known, False
            case _:
                pass
    return known, True


def _verify_step(step: tuple[Stmt, ...], function: Function) -> None:
    for stmt in walk(step):
        _require(not isinstance(stmt, Break | Continue | Return), function, "jump in a step")


def _has_break(body: tuple[Stmt, ...]) -> bool:
    """Whether a ``Break`` in ``body`` leaves this loop (not one nested in it)."""
    for stmt in body:
        match stmt:
            case Break():
                return True
            case If(then=then, orelse=orelse):
                if _has_break(then) or _has_break(orelse):
                    return True
            case _:
                pass
    return False


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
