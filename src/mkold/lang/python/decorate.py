"""``@kernel`` and ``@hook``: a whole Python function."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Iterator
from typing import Any

from mkold.ir.nodes import Function
from mkold.lang.meaning import function as meaning
from mkold.lang.meaning.builder import Builder
from mkold.lang.meaning.function import Parameter
from mkold.lang.python.expressions import operand
from mkold.lang.python.frame import Frame
from mkold.lang.python.objects import KernelFunction, Special
from mkold.lang.python.source import find
from mkold.lang.python.statements import statements
from mkold.lang.types.structs import FunctionPointer, Type


def kernel(function: Callable[..., Any]) -> KernelFunction:
    """Check ``function`` against kernel Python and lower it.

    Raises
    ------
    SourceError : something in it is outside the subset
    """
    f, node = _frame(function)
    params, results = _params(f, node), _results(f, node)
    f.in_memory = set(_pointed(f, node))
    with f.b.block() as body:
        meaning.begin(f.b, params, results, f.in_memory)
        statements(f, node.body)
    end = f.pos(node.body[-1])
    lowered, type_ = meaning.finish(f.b, function.__module__, params, body, f.pos(node), end)
    return KernelFunction(function, lowered, type_, f.b.uses)


def hook(function: Callable[..., Any]) -> KernelFunction:
    """Declare a function that an architecture, say, defines: a signature and a docstring.

    ``ir.module.collect(..., hooks={name: definition})`` says what it stands for.

    Raises
    ------
    SourceError : the signature is outside kernel Python, or there is a body
    """
    f, node = _frame(function)
    params, results = _params(f, node), _results(f, node)
    for stmt in node.body:
        match stmt:
            case ast.Pass() | ast.Expr(value=ast.Constant(value=str() | types.EllipsisType())):
                pass
            case _:
                hint = "an architecture's own function is the body"
                raise f.error(stmt, f"the hook {node.name} has a body", hint)
    lowered = Function(
        f"{function.__module__}:{node.name}",
        tuple(param.name for param in params),
        (),
        len(results),
        {param.name: str(param.type) for param in params},
        at=f.pos(node),
    )
    type_ = FunctionPointer(tuple(param.type for param in params), results)
    return KernelFunction(function, lowered, type_, f.b.uses, is_hook=True)


def _frame(function: Callable[..., Any]) -> tuple[Frame, ast.FunctionDef]:
    source, node = find(function)
    code = function.__code__
    assigned = {*code.co_varnames, *code.co_cellvars}  # by Python's own account
    frame = Frame(
        Builder(node.name, source), source, function.__globals__, assigned,
        code.co_freevars, (), operand,
    )  # fmt: skip
    return frame, node


def _pointed(f: Frame, node: ast.FunctionDef) -> Iterator[str]:
    """Locals of which ``addr`` is taken."""
    for part in ast.walk(node):
        match part:
            case ast.Call(func=func, args=[ast.Name(id=name)]) if name in f.assigned:
                found = f.static(func) if isinstance(func, ast.Name | ast.Attribute) else None
                if isinstance(found, Special) and found.name == "addr":
                    yield name


def _params(f: Frame, node: ast.FunctionDef) -> list[Parameter]:
    args = node.args
    extra = [*args.posonlyargs, *args.kwonlyargs]
    extra += [a for a in (args.vararg, args.kwarg) if a is not None]
    if extra:
        hint = "a kernel function has plain parameters only"
        raise f.error(extra[0], f"the parameter {extra[0].arg} is of a special kind", hint)
    for default in args.defaults:
        raise f.error(default, "a default value is not in kernel Python", "pass every argument")
    params = []
    for arg in args.args:
        if arg.annotation is None:
            hint = f"{arg.arg}: u64, or Ptr[...]"
            raise f.error(arg, f"the parameter {arg.arg} has no type", hint)
        type_ = f.type_of(arg.annotation)
        meaning.check_one_value(f.b, type_, f.pos(arg.annotation))
        params.append(Parameter(arg.arg, type_, f.pos(arg)))
    return params


def _results(f: Frame, node: ast.FunctionDef) -> tuple[Type, ...]:
    results = f.results_of(node.returns)
    for type_ in results:
        assert node.returns is not None
        meaning.check_one_value(f.b, type_, f.pos(node.returns))
    return results
