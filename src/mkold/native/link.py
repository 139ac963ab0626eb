"""Closes functions over what implements their locks, RCU and callbacks.

Rules
-----
* An ``Op`` whose row names kernel Python (``Prim.native``) becomes a call of it.
* ``CallRcu`` becomes a call of ``__call_rcu`` with its function's word; the body of
  ``rcu_invoke`` becomes a call through that word.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace

from mkold.ir.definition import Definition
from mkold.ir.edit import map_statements
from mkold.ir.module import Module
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
from mkold.ir.prims.implementations import CALL_RCU, RCU_INVOKE


def needed(functions: Mapping[str, Function]) -> set[str]:
    """The implementations (``module:name``) that ``functions`` ask for."""
    wanted = set()
    for function in functions.values():
        for stmt in walk(function.body):
            if isinstance(stmt, Op) and PRIMS[stmt.prim].native:
                wanted.add(PRIMS[stmt.prim].native)
            elif isinstance(stmt, CallRcu):
                wanted.add(CALL_RCU)
    return wanted


def implementation(key: str) -> Definition:
    """The function ``module:name``."""
    module, name = key.split(":")
    found: Definition = getattr(importlib.import_module(module), name)
    return found


def close(module: Module) -> Module:
    """``module`` and the implementations that it, or those, need."""
    while True:
        missing = sorted(needed(module.functions) - set(module.names))
        if not missing:
            return module
        module = module.extended(implementation(key) for key in missing)


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
            return (Call(names[CALL_RCU], (), args, stmt.at),)
        return None

    linked = {
        name: replace(function, body=map_statements(function.body, change))
        for name, function in functions.items()
    }
    if RCU_INVOKE in names:
        name = names[RCU_INVOKE]
        function, word = map(Local, linked[name].params)
        call = CallPtr(function, tuple(callbacks.values()), (), (word,), "callback")
        linked[name] = replace(linked[name], body=(call, Return()))
    return linked
