"""Which locals a loop's body takes over from the round before."""

from __future__ import annotations

from collections.abc import Iterator

from mkold.ir.flow import expressions
from mkold.ir.nodes import (
    Assign,
    Break,
    Call,
    Continue,
    If,
    Loop,
    Op,
    Return,
    Stmt,
    locals_of,
)

_EXPOSED: dict[int, tuple[tuple[Stmt, ...], frozenset[str]]] = {}


def exposed(body: tuple[Stmt, ...]) -> frozenset[str]:
    """Locals that ``body`` may read before it assigns them."""
    known = _EXPOSED.get(id(body))
    if known is None or known[0] is not body:
        known = body, frozenset(_exposed(body, set()))
        _EXPOSED[id(body)] = known
    return known[1]


def _exposed(body: tuple[Stmt, ...], known: set[str]) -> Iterator[str]:
    """``known`` grows by what every path through ``body`` assigns."""
    for stmt in body:
        for expr in expressions(stmt):
            yield from (name for name in locals_of(expr) if name not in known)
        match stmt:
            case Assign(dst=dst):
                known.add(dst)
            case Op(dsts=dsts) | Call(dsts=dsts):
                known.update(dsts)
            case If(then=then, orelse=orelse):
                a, b = set(known), set(known)
                yield from _exposed(then, a)
                yield from _exposed(orelse, b)
                ends_a, ends_b = _leaves(then), _leaves(orelse)
                known |= (
                    (a | b) if ends_a and ends_b else (b if ends_a else a if ends_b else a & b)
                )
            case Loop(body=inner, step=step):
                yield from _exposed((*inner, *step), set(known))
            case _:
                pass


def _leaves(body: tuple[Stmt, ...]) -> bool:
    return bool(body) and isinstance(body[-1], Break | Continue | Return)
