"""Passes over functions: rewriting, renaming, binding build parameters, folding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from mkold.base.errors import InputError
from mkold.ir.flow import expressions
from mkold.ir.nodes import (
    WORD_BITS,
    WORD_MASK,
    Assign,
    Binary,
    Block,
    Call,
    CallPtr,
    CallRcu,
    Const,
    Expr,
    Function,
    FunctionWord,
    If,
    Loop,
    Op,
    Param,
    Return,
    Select,
    Stmt,
    Unary,
    evaluate_binary,
    evaluate_unary,
    map_parts,
    parts,
    walk,
)
from mkold.ir.prims import PRIMS, Shape, Takes

Body = tuple[Stmt, ...]


def map_statements(body: Body, change: Callable[[Stmt], Body | None]) -> Body:
    """Rebuild ``body``; ``change`` gives a statement's replacement, or ``None`` to keep it.

    Outer statements are asked first; what is kept is rebuilt inside.
    """
    out: list[Stmt] = []
    for stmt in body:
        new = change(stmt)
        if new is not None:
            out += new
            continue
        match stmt:
            case If(cond, then, orelse, at):
                a, b = map_statements(then, change), map_statements(orelse, change)
                out.append(If(cond, a, b, at))
            case Block(body=inner):
                out.append(replace(stmt, body=map_statements(inner, change)))
            case Loop(inner, step):
                a, b = map_statements(inner, change), map_statements(step, change)
                out.append(replace(stmt, body=a, step=b))
            case _:
                out.append(stmt)
    return tuple(out)


def map_expressions(body: Body, change: Callable[[Expr], Expr]) -> Body:
    """Rebuild ``body``, passing every expression that a statement holds through ``change``."""

    def all_of(args: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return tuple(map(change, args))

    out: list[Stmt] = []
    for stmt in body:
        match stmt:
            case Assign(dst, value, at):
                out.append(Assign(dst, change(value), at))
            case Op(args=args) | Call(args=args):
                out.append(replace(stmt, args=all_of(args)))
            case CallPtr(target=target, args=args):
                out.append(replace(stmt, target=change(target), args=all_of(args)))
            case CallRcu(function, argument, at):
                out.append(CallRcu(function, change(argument), at))
            case If(cond, then, orelse, at):
                a, b = map_expressions(then, change), map_expressions(orelse, change)
                out.append(If(change(cond), a, b, at))
            case Block(body=inner):
                out.append(replace(stmt, body=map_expressions(inner, change)))
            case Loop(inner, step):
                a, b = map_expressions(inner, change), map_expressions(step, change)
                out.append(replace(stmt, body=a, step=b))
            case Return(values, at):
                out.append(Return(all_of(values), at))
            case _:
                out.append(stmt)
    return tuple(out)


def rename_calls(function: Function, name: str, calls: Mapping[str, str]) -> Function:
    """``function`` under ``name``, its calls and pointers going to ``calls[callee]``."""

    def word(expr: Expr) -> FunctionWord | None:
        if not isinstance(expr, FunctionWord):
            return None
        return FunctionWord(calls.get(expr.name, expr.name), expr.key or expr.name)

    def change(stmt: Stmt) -> Body | None:
        match stmt:
            case Call() | CallRcu():
                return (replace(stmt, function=calls.get(stmt.function, stmt.function)),)
            case CallPtr(members=members):
                renamed = tuple(filter(None, map(word, members)))
                return (replace(stmt, members=renamed),)
            case _:
                return None

    body = map_statements(function.body, change)
    if any(isinstance(part, FunctionWord) for part in all_parts(body)):
        body = map_expressions(body, lambda expr: map_parts(expr, word))
    return replace(function, name=name, body=body)


def all_parts(body: Body) -> Iterator[Expr]:
    """Every expression of ``body`` and every expression in it."""
    for stmt in walk(body):
        for expr in expressions(stmt):
            yield from parts(expr)


def bind(functions: Mapping[str, Function], params: Mapping[str, int]) -> dict[str, Function]:
    """Replace every build parameter by its value and fold constants.

    Raises
    ------
    InputError : a parameter has no value in ``params``; more words are looked at than one
        has bits for
    """

    def change(expr: Expr) -> Expr:
        return fold(expr, params)

    bound = {
        name: replace(function, body=map_expressions(function.body, change))
        for name, function in functions.items()
    }
    for function in bound.values():
        _check_counts(function)
    return bound


def _check_counts(function: Function) -> None:
    for stmt in walk(function.body):
        if isinstance(stmt, Op) and PRIMS[stmt.prim].shape is Shape.LOAD_WHICH:
            count = stmt.args[PRIMS[stmt.prim].takes.index(Takes.COUNT)]
            if isinstance(count, Const) and count.value > WORD_BITS:
                where = f"{stmt.at}: " if stmt.at else ""
                reason = f"{stmt.prim} of {count.value} words, and a word has {WORD_BITS} bits"
                hint = f"; {count.symbol} is {WORD_BITS} at most" if count.symbol else ""
                raise InputError(where + reason + hint)


def fold(expr: Expr, params: Mapping[str, int]) -> Expr:
    """``expr`` with parameters replaced and constant arithmetic done."""
    match expr:
        case Param(name):
            if name not in params:
                raise InputError(f"the build parameter {name} has no value")
            return Const(params[name] & WORD_MASK, name)
        case Unary(op, a):
            a = fold(a, params)
            return Const(evaluate_unary(op, a.value)) if isinstance(a, Const) else Unary(op, a)
        case Binary(op, a, b):
            a, b = fold(a, params), fold(b, params)
            if isinstance(a, Const) and isinstance(b, Const):
                return Const(evaluate_binary(op, a.value, b.value))
            return Binary(op, a, b)
        case Select(cond, a, b):
            cond, a, b = fold(cond, params), fold(a, params), fold(b, params)
            if isinstance(cond, Const):
                return a if cond.value else b
            return Select(cond, a, b)
        case _:
            return expr
