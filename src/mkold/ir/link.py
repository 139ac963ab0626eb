"""From a module to functions that a machine can run: locks, RCU and callbacks put in.

What every reading shares that runs whole programs, natively or in time of its own.

Rules
-----
* An ``Op`` whose row names kernel Python (``Prim.native``) becomes a call of it.
* ``CallRcu`` becomes a call of ``__call_rcu`` with its function's word; the body of
  ``rcu_invoke`` becomes a call through that word.
* What implementations need in their turn is put in too, and what an edit brings in.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
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

# A module's functions with changes made.
Edit = Callable[[Module], Mapping[str, Function]]


def link(module: Module, edit: Edit | None = None) -> tuple[Module, dict[str, Function]]:
    """``module`` with all that its primitives are natively, and the functions to run.

    Parameters
    ----------
    edit : a change to the functions before primitives are replaced (a variant)
    """
    module = _closed(module, module.functions)
    functions = module.functions
    if edit is not None:
        functions = edit(module)
        closed = _closed(module, functions)
        if closed is not module:
            module, functions = closed, edit(closed)
    return module, _replaced(functions, module.names)


def implementation(key: str) -> Definition:
    """The function ``module:name``."""
    module, name = key.split(":")
    found: Definition = getattr(importlib.import_module(module), name)
    return found


def _closed(module: Module, functions: Mapping[str, Function]) -> Module:
    """``module`` and the implementations that ``functions``, or those, need."""
    while True:
        missing = sorted(_needed(functions) - set(module.names))
        if not missing:
            return module
        module = module.extended(implementation(key) for key in missing)
        functions = module.functions


def _needed(functions: Mapping[str, Function]) -> set[str]:
    wanted = set()
    for function in functions.values():
        for stmt in walk(function.body):
            if isinstance(stmt, Op) and PRIMS[stmt.prim].native:
                wanted.add(PRIMS[stmt.prim].native)
            elif isinstance(stmt, CallRcu):
                wanted.add(CALL_RCU)
    return wanted


def _replaced(
    functions: Mapping[str, Function], names: Mapping[str, str]
) -> dict[str, Function]:
    """Primitives that are kernel Python, and callbacks, as calls."""
    # What only a function behind a stand-in calls is not there.
    names = {key: name for key, name in names.items() if name in functions}
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
