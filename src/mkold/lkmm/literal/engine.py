"""A second, slow and literal engine: the model as sets of pairs, one execution at a time.

It exists to check the first. Nothing is shared with ``candidates``, ``model``, ``grace`` and
``plain``, and none of their shortcuts is taken: initial writes and fences are events like
any other, every assignment of sources and every coherence order is tried, each relation
is worked out by its definition, and each axiom tested as it stands.

Known limits: a few memory events (every combination is tried); values out of thin air are
dropped.

Source: tools/memory-model/linux-kernel.cat, linux-kernel.bell, lock.cat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial, prod

from mkold.base.errors import LimitError
from mkold.ir.formula import holds
from mkold.ir.program import Mem, Observed
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.graph.values import evaluate
from mkold.lkmm.known.words import MayValues, initial_word
from mkold.lkmm.literal.relations import Literal
from mkold.lkmm.paths.paths import Act, Path, unit_paths
from mkold.lkmm.paths.question import register_value

MOST = 20_000


@dataclass(frozen=True, slots=True)
class Result:
    """What all allowed executions add up to."""

    states: frozenset[tuple[int, ...]]
    flags: frozenset[str]
    satisfied: bool
    refuted: bool


def decide_literally(graph: Graph, *, most: int = MOST) -> Result:
    """States and flags of a small program.

    Raises
    ------
    LimitError : there are more than ``most`` candidates
    """
    program = graph.program
    may = MayValues(graph)
    units = [unit_paths(graph, unit, may) for unit in range(len(program.threads))]
    if sum(map(_count, product(*units))) > most:
        raise LimitError(f"more than {most} candidates for the textbook engine")
    states: set[tuple[int, ...]] = set()
    flags: set[str] = set()
    yes = no = False
    for paths in product(*units):
        for execution in _executions(graph, paths):
            if program.filter is not None and not holds(program.filter, execution.at):
                continue
            raised = execution.judge()
            if raised is None:
                continue
            flags |= raised
            states.add(tuple(execution.at(place) for place in program.observed))
            if program.condition is not None:
                good = holds(program.condition.formula, execution.at)
                yes, no = yes or good, no or not good
    return Result(frozenset(states), frozenset(flags), yes, no)


def _count(paths: tuple[Path, ...]) -> int:
    """Candidates of one choice of paths, impossible ones included."""
    acts = [act for path in paths for act in path.acts if act.is_read or act.is_write]
    writes = Counter(act.address for act in acts if act.is_write)
    return prod(factorial(n) for n in writes.values()) * prod(
        writes[act.address] + 1 for act in acts if act.is_read
    )


def _executions(graph: Graph, paths: tuple[Path, ...]) -> Iterator[Execution]:
    """Every assignment of sources and coherence orders whose values add up."""
    if any(path.cut for path in paths):
        return
    acts = {act.id: act for path in paths for act in path.acts}
    reads = [act for act in acts.values() if act.is_read]
    places = sorted({a.address for a in acts.values() if a.is_read or a.is_write})
    init = {place: -1 - number for number, place in enumerate(places)}
    sources = [
        [init[r.address]]
        + [w.id for w in acts.values() if w.is_write and w.address == r.address]
        for r in reads
    ]
    writes = [[w.id for w in acts.values() if w.is_write and w.address == p] for p in places]
    for chosen in product(*sources):
        rf = {read.id: source for read, source in zip(reads, chosen, strict=True)}
        values = _values(graph, acts, rf, {e: initial_word(graph, p) for p, e in init.items()})
        if values is None or not _constraints_hold(paths, acts, values):
            continue
        for orders in product(*(permutations(some) for some in writes)):
            chains = {p: (init[p], *order) for p, order in zip(places, orders, strict=True)}
            yield Execution(graph, paths, acts, values, rf, chains)


def _values(
    graph: Graph, acts: Mapping[int, Act], rf: Mapping[int, int], initial: Mapping[int, int]
) -> dict[int, int] | None:
    values = dict(initial)

    def read(event: int) -> int:
        return values[event]

    for _ in range(len(acts) + 1):
        for act in acts.values():
            if act.id not in values:
                if act.is_read:
                    if rf[act.id] in values:
                        values[act.id] = values[rf[act.id]]
                elif act.is_write:
                    try:
                        values[act.id] = evaluate(act.value, read)
                    except KeyError:
                        continue
    missing = any(a.id not in values for a in acts.values() if a.is_read or a.is_write)
    return None if missing else values


def _constraints_hold(
    paths: tuple[Path, ...], acts: Mapping[int, Act], values: Mapping[int, int]
) -> bool:
    for act in acts.values():
        if act.node.must is not None and values[act.id] != act.node.must:
            return False
    for path in paths:
        for constraint in path.constraints:
            if not constraint.met_by(evaluate(constraint.value, values.__getitem__)):
                return False
    return True


class Execution:
    """One candidate with its values; ``judge`` applies the model."""

    def __init__(
        self,
        graph: Graph,
        paths: tuple[Path, ...],
        acts: Mapping[int, Act],
        values: Mapping[int, int],
        rf: Mapping[int, int],
        chains: Mapping[int, tuple[int, ...]],
    ) -> None:
        self.graph, self.paths, self.values, self.chains = graph, paths, values, chains
        self.judge = Literal(paths, acts, rf, chains).judge

    def at(self, place: Observed) -> int:
        """The last word at ``place``."""
        if isinstance(place, Mem):
            chain = self.chains.get(place.address)
            if chain is None:
                return initial_word(self.graph, place.address)
            return self.values[chain[-1]]
        value = register_value(self.graph, place, self.paths[place.thread])
        return evaluate(value, self.values.__getitem__)
