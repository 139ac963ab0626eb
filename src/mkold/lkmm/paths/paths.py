"""The ways a thread can go: every branch decided, every address known.

A *path* of a unit (a thread, with the ``call_rcu`` functions it started) fixes all its
decisions and the address of each of its events. What must hold for it to be taken is kept
as constraints ``value == 0`` / ``value != 0`` / ``value == address``, which the engine
turns into masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mkold.base.errors import LimitError
from mkold.lkmm.graph.events import NOWHERE, Graph, Node
from mkold.lkmm.graph.guards import Decided
from mkold.lkmm.graph.values import Constraint, Value, resolve
from mkold.lkmm.known.feasible import Feasibility
from mkold.lkmm.known.words import MayValues
from mkold.lkmm.paths.unordered import NONE, Pair, unordered

MAX_PATHS = 4096


@dataclass(slots=True, eq=False)
class Act:
    """A node on a path: its address, value and dependencies settled.

    ``order`` is empty where a conditional read-modify-write failed; ``marked`` as in
    linux-kernel.bell. ``rmw`` is -1 where the partner is not on the path.
    """

    node: Node
    id: int
    thread: int
    kind: str
    order: str
    address: int
    value: Value
    rmw: int
    marked: bool
    is_read: bool
    is_write: bool


@dataclass(slots=True, eq=False)
class Path:
    """One way through a unit.

    ``constraints`` are what has to hold for it to be taken. ``acts`` are in program order
    within each thread; ``apart`` are the pairs of them that are in no order.
    """

    unit: int
    decided: Decided
    acts: list[Act]
    constraints: list[Constraint]
    cut: bool
    checks: list[tuple[str, Value]] = field(default_factory=list)
    apart: frozenset[Pair] = NONE


def unit_paths(
    graph: Graph, unit: int, may: MayValues, check: Callable[[], None] = lambda: None
) -> list[Path]:
    """Every path of a unit that its own constants do not rule out.

    ``check`` is called now and then, and raises when time is up.
    """
    feasible = Feasibility(graph.domains) if graph.domains else None
    paths = []
    nodes = [node for node in graph.nodes if graph.unit_of_thread[node.thread] == unit]
    for decided, constraints in _decisions(graph, unit, feasible, check):
        if any(u == unit and decided.holds(guard) for guard, u in graph.waits):
            continue
        cut = any(u == unit and decided.holds(guard) for guard, u in graph.cuts)
        present = [node for node in nodes if decided.holds(node.guard)]
        checks = [
            (check.flag, resolve(check.cond, decided))
            for check in graph.checks
            if check.unit == unit and decided.holds(check.guard)
        ]
        apart = unordered(present, decided)
        for addresses, extra in _addresses(present, decided, may, constraints, feasible):
            acts = _acts(present, addresses, decided)
            paths.append(Path(unit, decided, acts, constraints + extra, cut, checks, apart))
            if len(paths) > MAX_PATHS:
                raise LimitError(f"more than {MAX_PATHS} paths through one thread")
    return paths


def _decisions(
    graph: Graph, unit: int, feasible: Feasibility | None, check: Callable[[], None]
) -> Iterator[tuple[Decided, list[Constraint]]]:
    """Assignments of the unit's decisions, with what each asks of values."""
    mine = [k for k, decision in enumerate(graph.decisions) if decision.unit == unit]

    def extend(
        index: int, decided: Decided, asked: list[Constraint]
    ) -> Iterator[tuple[Decided, list[Constraint]]]:
        check()
        if index == len(mine):
            yield decided, asked
            return
        number = mine[index]
        decision = graph.decisions[number]
        if not decided.holds(decision.guard):
            yield from extend(index + 1, decided, asked)
            return
        cond = None if decision.cond is None else resolve(decision.cond, decided)
        if isinstance(cond, int):
            yield from extend(index + 1, Decided({**decided, number: cond != 0}), asked)
            return
        for way in (False, True):
            more = asked
            if cond is not None:
                new = Constraint(cond, None if way else 0)
                if feasible is not None and not feasible.goes(asked, new):
                    continue
                more = [*asked, new]
            yield from extend(index + 1, Decided({**decided, number: way}), more)

    return extend(0, Decided(), [])


def _addresses(
    present: list[Node],
    decided: Decided,
    may: MayValues,
    asked: list[Constraint],
    feasible: Feasibility | None,
) -> Iterator[tuple[dict[int, int], list[Constraint]]]:
    """Choices of the addresses that depend on what is read."""
    fixed: dict[int, int] = {}
    open_values: dict[Value, list[int]] = {}
    for node in present:
        if node.addr == NOWHERE:
            continue
        addr = resolve(node.addr, decided)
        if isinstance(addr, int):
            fixed[node.id] = addr
        else:
            open_values.setdefault(addr, []).append(node.id)
    choices = [(addr, ids, sorted(may.of(addr))) for addr, ids in open_values.items()]

    def extend(
        index: int, extra: list[Constraint]
    ) -> Iterator[tuple[dict[int, int], list[Constraint]]]:
        if index == len(choices):
            yield dict(fixed), extra
            return
        addr, ids, words = choices[index]
        for word in words:
            new = Constraint(addr, word)
            if feasible is not None and not feasible.goes([*asked, *extra], new):
                continue
            for node in ids:
                fixed[node] = word
            yield from extend(index + 1, [*extra, new])

    if choices:
        return extend(0, [])
    return iter([(fixed, [])])


def _acts(present: list[Node], addresses: dict[int, int], decided: Decided) -> list[Act]:
    here = {node.id for node in present}
    acts = []
    for node in present:
        rmw = node.rmw if node.rmw in here else -1
        order = node.order
        marked = order != "plain"
        if node.conditional and rmw < 0:
            order = ""
        value = resolve(node.value, decided)
        acts.append(Act(node, node.id, node.thread, node.kind, order,
                        addresses.get(node.id, NOWHERE), value, rmw, marked,
                        node.is_read, node.is_write))  # fmt: skip
    return acts
