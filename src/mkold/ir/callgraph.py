"""Who calls whom, however deep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mkold.ir.nodes import CallRcu, Function, callees, walk


def called(function: Function) -> Iterator[str]:
    """Names of the functions that ``function`` may call before it returns, with repeats."""
    return (
        callee
        for stmt in walk(function.body)
        if not isinstance(stmt, CallRcu)  # it runs later, in a process of its own
        for callee in callees(stmt)
    )


def circle(functions: Mapping[str, Function]) -> list[str]:
    """Functions that call each other in a circle, the first once more at the end; or none."""
    done: set[str] = set()
    for root in functions:
        path: dict[str, Iterator[str]] = {root: called(functions[root])}
        while path:
            name, more = next(reversed(path.items()))
            callee = next(more, None)
            if callee is None:
                done.add(name)
                del path[name]
            elif callee in path:
                return [*[*path][[*path].index(callee) :], callee]
            elif callee not in done:
                path[callee] = called(functions[callee])
    return []
