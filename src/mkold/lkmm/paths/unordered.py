"""Operands of one C expression, which C leaves in no order.

``r = READ_ONCE(*x) + READ_ONCE(*y)`` may read either first. As in herd, such accesses have no
program order between them but that of what they depend on: an access comes after the reads
that its address and its value come from and those that decide whether it happens, and the
write of a read-modify-write after its read and after all of its arguments.

A relation over a partial order is what all of its linear extensions have in common, and an
execution is coherent if it is so for one of them; so the rest of the engine knows lists
only, and ``linear`` gives as many as are needed.

Source: C11, 6.5 p. 3; herd7's semantics of C.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

from mkold.base.errors import LimitError
from mkold.lkmm.graph.events import Node
from mkold.lkmm.graph.guards import Decided

Pair = tuple[int, int]
NONE: frozenset[Pair] = frozenset()
MAX_ORDERS = 720


class Act(Protocol):
    """A node on a path."""

    @property
    def id(self) -> int: ...
    @property
    def node(self) -> Node: ...


T = TypeVar("T", bound=Act)


def unordered(present: Sequence[Node], decided: Decided) -> frozenset[Pair]:
    """Pairs of the nodes of one path, in the order they are listed, that are in none."""
    groups: dict[int, list[Node]] = {}
    for node in present:
        if node.group:
            groups.setdefault(node.group, []).append(node)
    return frozenset(
        pair for nodes in groups.values() if len(nodes) > 1 for pair in _apart(nodes, decided)
    )


def _apart(nodes: Sequence[Node], decided: Decided) -> Iterator[Pair]:
    before: dict[int, set[int]] = {}
    for node in nodes:
        mine: set[int] = set()
        for taint in (node.addr_deps, node.data_deps, node.ctrl_deps, node.args_deps):
            mine |= {e for e, guard in taint.items() if e in before and decided.holds(guard)}
        if node.is_write and node.rmw in before:
            mine.add(node.rmw)
        for earlier in list(mine):
            mine |= before[earlier]
        yield from ((other, node.id) for other in before if other not in mine)
        before[node.id] = mine


def linear(acts: Sequence[T], apart: frozenset[Pair]) -> list[list[T]]:
    """Every order of ``acts`` that keeps all pairs but those in ``apart``.

    Raises
    ------
    LimitError : there are too many
    """
    found: list[list[T]] = []

    def extend(done: list[T], left: Sequence[T]) -> None:
        if not left:
            if len(found) == MAX_ORDERS:
                raise LimitError("too many accesses in one expression")
            found.append(done)
            return
        for index, act in enumerate(left):
            if all((other.id, act.id) in apart for other in left[:index]):
                extend([*done, act], [*left[:index], *left[index + 1 :]])

    extend([], acts)
    return found


def one_by_one(acts: Sequence[T], apart: frozenset[Pair]) -> Iterator[list[T]]:
    """``acts`` with the accesses of one expression after the other in all their orders.

    What a fence or an access orders of two expressions is the same in every order of each.
    """
    first = 0
    for number, group in groupby(acts, lambda act: act.node.group):
        end = first + len(list(group))
        if number and end - first > 1:
            for order in linear(acts[first:end], apart):
                yield [*acts[:first], *order, *acts[end:]]
        first = end
