"""Closes functions over what implements their locks, RCU and callbacks.

Rules
-----
* An ``Op`` whose row names kernel Python (``Prim.native``) becomes a call of it.
* ``CallRcu`` becomes a call of ``__call_rcu`` with its function's word; the body of
  ``rcu_invoke`` becomes a call through that word.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from mkold.ir.edit import map_statements
from mkold.ir.nodes import (
    Call,
    CallPtr,
    CallRcu,
    Function,
    FunctionWord,
    Local,
    Op,
    Return,
    Stmt,
    walk,
)
from mkold.ir.prims import PRIMS
from mkold.lang.collect import collect
from mkold.lang.kernel import KernelFunction

_CALL_RCU = "mkold.sync.rcu:__call_rcu"
_INVOKE = "mkold.sync.rcu:rcu_invoke"


def needed(functions: Mapping[str, Function]) -> set[str]:
    """The implementations (``module:name``) that ``functions`` ask for."""
    wanted = set()
    for function in functions.values():
        for stmt in walk(function.body):
            if isinstance(stmt, Op) and PRIMS[stmt.prim].native:
                wanted.add(PRIMS[stmt.prim].native)
            elif isinstance(stmt, CallRcu):
                wanted.add(_CALL_RCU)
    return wanted


def implementation(key: str) -> KernelFunction:
    """The kernel function ``module:name``."""
    module, name = key.split(":")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, KernelFunction)
    return found


def close(roots: Iterable[KernelFunction]) -> list[KernelFunction]:
    """``roots`` and the implementations that they, or those, need."""
    closed = list(roots)
    while True:
        have = {function.definition.key for function in closed}
        missing = sorted(needed(collect(closed)) - have)
        if not missing:
            return closed
        closed += [implementation(key) for key in missing]


def link(functions: Mapping[str, Function], names: Mapping[str, str]) -> dict[str, Function]:
    """Replace primitives that are kernel Python, and callbacks, by calls.

    Parameters
    ----------
    functions : closed, by name
    names : the name of each function in ``functions`` by ``module:name``
    """
    keys = {name: key for key, name in names.items()}
    callbacks = {
        stmt.function: FunctionWord(stmt.function, keys.get(stmt.function, ""))
        for function in functions.values()
        for stmt in walk(function.body)
        if isinstance(stmt, CallRcu)
    }

    def change(stmt: Stmt) -> tuple[Stmt, ...] | None:
        if isinstance(stmt, Op) and PRIMS[stmt.prim].native:
            callee = names[PRIMS[stmt.prim].native]
            return (Call(callee, stmt.dsts, stmt.args, stmt.at),)
        if isinstance(stmt, CallRcu):
            args = (callbacks[stmt.function], stmt.argument)
            return (Call(names[_CALL_RCU], (), args, stmt.at),)
        return None

    linked = {
        name: replace(function, body=map_statements(function.body, change))
        for name, function in functions.items()
    }
    if _INVOKE in names:
        name = names[_INVOKE]
        function, word = map(Local, linked[name].params)
        call = CallPtr(function, tuple(callbacks.values()), (), (word,), "callback")
        linked[name] = replace(linked[name], body=(call, Return()))
    return linked
