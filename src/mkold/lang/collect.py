"""The closure of kernel functions over their calls, in the intermediate form."""

from __future__ import annotations

import itertools
import linecache
import types
from collections.abc import Iterable
from typing import Any

from mkold.ir.edit import rename_calls
from mkold.ir.nodes import Function
from mkold.lang.kernel import KernelFunction

_TEXTS = itertools.count()


def collect(functions: Iterable[KernelFunction]) -> dict[str, Function]:
    """``functions`` and all they call, by name.

    A name is the source's own; where two modules clash, all that clash are called
    ``module.function``. Build parameters stay open (``ir.edit.bind`` closes them).
    """
    found = _closure(functions)
    names = _names(found)
    lowered = {}
    for function in found:
        calls = {key: names[id(callee.definition)] for key, callee in function.callees.items()}
        name = names[id(function)]
        lowered[name] = rename_calls(function.lowered, name, calls)
    return lowered


def names_of(functions: Iterable[KernelFunction]) -> dict[str, str]:
    """The names that ``collect`` gives, by ``module:name``."""
    found = _closure(functions)
    names = _names(found)
    return {function.key: names[id(function)] for function in found}


def _closure(functions: Iterable[KernelFunction]) -> list[KernelFunction]:
    found: dict[int, KernelFunction] = {}

    def visit(function: KernelFunction) -> None:
        function = function.definition
        if id(function) in found:
            return
        found[id(function)] = function  # before its callees: a declared one may call back
        for callee in function.callees.values():
            visit(callee)

    for function in functions:
        visit(function)
    return list(found.values())


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
