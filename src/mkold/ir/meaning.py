"""Statements that stand for others: what they mean, said in plainer ones.

A reading may take a program through ``expand`` first, or ask for the ``meaning`` of one
statement when it gets there; then it needs no case of its own for

* ``CallPtr``: a choice by the pointer's word among its members. What a member does depends
  on the word by control. A word that is no member's comes to ``bad_call``.
* a primitive whose row says it in others (``Prim.meaning``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mkold.ir.edit import Body, map_statements
from mkold.ir.nodes import (
    Assign,
    Binary,
    Call,
    CallPtr,
    Const,
    Function,
    If,
    Op,
    Stmt,
    walk,
)
from mkold.ir.prims import PRIMS
from mkold.ir.program import Program


def meaning(stmt: Stmt) -> Body | None:
    """What ``stmt`` stands for; ``None`` if it says itself what it means."""
    match stmt:
        case CallPtr():
            return _choice(stmt)
        case Op(prim=prim):
            said = PRIMS[prim].meaning
            return None if said is None else said(stmt)
        case _:
            return None


def _is_plain(stmt: Stmt) -> bool:
    match stmt:
        case Op(prim=prim):
            return PRIMS[prim].meaning is None
        case _:
            return not isinstance(stmt, CallPtr)


def expand(functions: Mapping[str, Function]) -> Mapping[str, Function]:
    """``functions`` without statements that stand for others."""
    changed = {
        name: replace(function, body=map_statements(function.body, meaning))
        for name, function in functions.items()
        if not all(map(_is_plain, walk(function.body)))
    }
    return {**functions, **changed} if changed else functions


def _choice(stmt: CallPtr) -> Body:
    bad = Op("bad_call", (), (stmt.target,), stmt.what, stmt.at)
    body: Body = (bad, *(Assign(dst, Const(0), stmt.at) for dst in stmt.dsts))
    for member in reversed(stmt.members):
        call = Call(member.name, stmt.dsts, stmt.args, stmt.at)
        body = (If(Binary("eq", stmt.target, member), (call,), body, stmt.at),)
    return body


def expanded(program: Program) -> Program:
    """``program`` with its functions expanded; itself if there is nothing to expand."""
    functions = expand(program.functions)
    return program if functions is program.functions else replace(program, functions=functions)
