"""Checks the rules of the form (stated in ``nodes``); run after every pass.

A failure is a bug of the pass before it, so it raises ``AssertionError``, not a user's
error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mkold.ir import access
from mkold.ir.callgraph import circle
from mkold.ir.edit import all_parts
from mkold.ir.flow import expressions, falls_through, target, unassigned
from mkold.ir.nodes import (
    BINARY,
    UNARY,
    WORD_MASK,
    Binary,
    Block,
    Break,
    Call,
    CallPtr,
    CallRcu,
    Const,
    Continue,
    Expr,
    Function,
    FunctionWord,
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


@dataclass(frozen=True, slots=True)
class _Scope:
    label: str
    is_loop: bool


def verify(functions: Mapping[str, Function]) -> None:
    """Check every function, calls between them, and that there is no recursion."""
    for name, function in functions.items():
        _require(name == function.name, function, "is filed under another name")
        verify_function(function, functions)
    _verify_no_recursion(functions)
    _verify_words(functions)


def verify_function(function: Function, functions: Mapping[str, Function]) -> None:
    """Check one function against the rules and against the ones it calls."""
    for stmt in walk(function.body):
        for expr in expressions(stmt):
            _verify_expr(expr, function)
        if isinstance(stmt, Op):
            _verify_op(stmt, function)
        elif isinstance(stmt, Call):
            _verify_call(stmt.function, stmt, function, functions)
        elif isinstance(stmt, CallPtr):
            for member in stmt.members:
                _verify_call(member.name, stmt, function, functions)
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
    _verify_jumps(function.body, function, ())
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
    _require(
        access.fits(row, op.width, op.shift),
        function,
        f"{op.prim} of {op.width} bits at {op.shift}",
    )


def _verify_call(
    name: str, call: Call | CallPtr, function: Function, functions: Mapping[str, Function]
) -> None:
    callee = functions.get(name)
    _require(callee is not None, function, f"call of unknown {name}")
    assert callee is not None
    _require(len(call.args) == len(callee.params), function, f"arguments of {callee.name}")
    _require(len(call.dsts) in (0, callee.n_results), function, f"results of {callee.name}")


def _verify_jumps(
    body: tuple[Stmt, ...], function: Function, scopes: tuple[_Scope, ...]
) -> None:
    for stmt in body:
        match stmt:
            case Break(label=label) | Continue(label=label):
                scope = target(scopes, label)
                _require(scope is not None, function, f"jump to {label or 'no loop'}")
                is_loop = scope is not None and scope.is_loop
                _require(is_loop or isinstance(stmt, Break), function, f"{label} is no loop")
            case If(then=then, orelse=orelse):
                _verify_jumps(then, function, scopes)
                _verify_jumps(orelse, function, scopes)
            case Block(body=inner) | Loop(body=inner):
                scope = _Scope(stmt.label, isinstance(stmt, Loop))
                taken = {outer.label for outer in scopes} - {""}
                _require(scope.label not in taken, function, f"two labels {scope.label}")
                _require(bool(scope.label) or scope.is_loop, function, "block without label")
                _verify_jumps(inner, function, (*scopes, scope))
            case _:
                pass


def _verify_step(step: tuple[Stmt, ...], function: Function) -> None:
    for stmt in walk(step):
        _require(not isinstance(stmt, Break | Continue | Return), function, "jump in a step")


def _verify_no_recursion(functions: Mapping[str, Function]) -> None:
    for name in circle(functions)[:1]:
        _require(False, functions[name], "recursion")


def _verify_words(functions: Mapping[str, Function]) -> None:
    """No two functions have one word."""
    keys: dict[int, str] = {}
    for function in functions.values():
        for word in _words(function):
            key = word.key or word.name
            other = keys.setdefault(word.word, key)
            _require(other == key, function, f"{key} and {other} have the same word")


def _words(function: Function) -> Iterator[FunctionWord]:
    for stmt in walk(function.body):
        if isinstance(stmt, CallPtr):
            yield from stmt.members
    for part in all_parts(function.body):
        if isinstance(part, FunctionWord):
            yield part
