"""The closure of kernel functions over their calls, in the intermediate form."""

from __future__ import annotations

import itertools
import linecache
import types
from collections.abc import Iterable
from typing import Any

from mkold.ir.edit import rename_calls
from mkold.ir.nodes import Function
from mkold.lang.declare import definition_of
from mkold.lang.kernel import KernelFunction

_TEXTS = itertools.count()


def collect(functions: Iterable[KernelFunction]) -> dict[str, Function]:
    """``functions`` and all they call, by name.

    A name is the source's own; where two modules clash, all that clash are called
    ``module.function``. Build parameters stay open (``ir.edit.bind`` closes them).
    """
    found: dict[int, KernelFunction] = {}
    for function in functions:
        _visit(definition_of(function), found)
    names = _names(list(found.values()))
    lowered = {}
    for function in found.values():
        calls = {
            key: names[id(definition_of(callee))] for key, callee in function.callees.items()
        }
        name = names[id(function)]
        lowered[name] = rename_calls(function.lowered, name, calls)
    return lowered


def _visit(function: KernelFunction, found: dict[int, KernelFunction]) -> None:
    if id(function) in found:
        return
    for callee in function.callees.values():
        _visit(definition_of(callee), found)
    found[id(function)] = function


def _names(functions: list[KernelFunction]) -> dict[int, str]:
    by_name: dict[str, list[KernelFunction]] = {}
    for function in functions:
        by_name.setdefault(function.name, []).append(function)
    names = {}
    for name, same in by_name.items():
        taken: set[str] = set()
        for function in same:
            chosen = name if len(same) == 1 else function.key.replace(":", ".")
            while chosen in taken:  # the same name twice in one module
                chosen += "'"
            taken.add(chosen)
            names[id(function)] = chosen
    return names


def compile_text(text: str, name: str = "") -> dict[str, Any]:
    """Run a module of kernel Python given as text; its names.

    For generated programs and tests; errors point into the text, under ``name``.
    """
    file = name or f"<kernel-python-{next(_TEXTS)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = types.ModuleType(file.strip("<>"))
    exec(compile(text, file, "exec"), module.__dict__)
    return module.__dict__
