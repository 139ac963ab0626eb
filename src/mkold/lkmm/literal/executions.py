"""Every candidate execution of a small program, one at a time.

Initial writes are events like any other, every assignment of sources and every coherence
order is tried.

Known limits: values out of thin air are dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import permutations, product
from math import factorial, prod

from mkold.ir.program import Mem, Observed
from mkold.lkmm.graph.events import INIT, Graph
from mkold.lkmm.graph.values import Constraint, evaluate
from mkold.lkmm.known.words import initial_word
from mkold.lkmm.literal.relations import Literal
from mkold.lkmm.paths.drawing import Found
from mkold.lkmm.paths.paths import Act, Path
from mkold.lkmm.paths.question import register_value
from mkold.lkmm.verdict import Edge


def count(paths: tuple[Path, ...]) -> int:
    """Candidates of one choice of paths, impossible ones included."""
    acts = [act for path in paths for act in path.acts if act.is_read or act.is_write]
    writes = Counter(act.address for act in acts if act.is_write)
    return prod(factorial(n) for n in writes.values()) * prod(
        writes[act.address] + 1 for act in acts if act.is_read
    )


def executions(graph: Graph, paths: tuple[Path, ...]) -> Iterator[Execution]:
    """Every assignment of sources and coherence orders whose values add up."""
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
        values = _values(acts, rf, {e: initial_word(graph, p) for p, e in init.items()})
        if values is None or not _constraints_hold(paths, acts, values):
            continue
        for orders in product(*(permutations(some) for some in writes)):
            chains = {p: (init[p], *order) for p, order in zip(places, orders, strict=True)}
            yield Execution(graph, paths, acts, values, rf, chains)


def _values(
    acts: Mapping[int, Act], rf: Mapping[int, int], initial: Mapping[int, int]
) -> dict[int, int] | None:
    """The word of each access; None: some justify only one another."""
    values = dict(initial)
    for _ in range(len(acts) + 1):
        for act in acts.values():
            if act.id not in values:
                if act.is_read:
                    if rf[act.id] in values:
                        values[act.id] = values[rf[act.id]]
                elif act.is_write:
                    try:
                        values[act.id] = evaluate(act.value, values.__getitem__)
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
    """One candidate with its values.

    ``rf`` maps reads to what they find; ``chains`` gives for each word its initial write (a
    negative number) and then its writes in coherence order.
    """

    def __init__(
        self,
        graph: Graph,
        paths: tuple[Path, ...],
        acts: Mapping[int, Act],
        values: Mapping[int, int],
        rf: Mapping[int, int],
        chains: Mapping[int, tuple[int, ...]],
    ) -> None:
        self.graph, self.paths, self.acts = graph, paths, acts
        self.values, self.rf, self.chains = values, rf, chains

    def relations(self) -> Literal:
        """The model's relations of it."""
        return Literal(self.paths, self.acts, self.rf, self.chains)

    def at(self, place: Observed) -> int:
        """The last word at ``place``."""
        if isinstance(place, Mem):
            chain = self.chains.get(place.address)
            if chain is None:
                return initial_word(self.graph, place.address)
            return self.values[chain[-1]]
        value = register_value(self.graph, place, self.paths[place.thread])
        return evaluate(value, self.values.__getitem__)

    @property
    def final(self) -> tuple[int, ...]:
        """The value of each entry of ``Program.observed``."""
        return tuple(self.at(place) for place in self.graph.program.observed)

    # -- as executions that may raise flags ---------------------------------------

    def every(self) -> bool:
        return True

    def where(self, constraint: Constraint) -> bool:
        return constraint.met_by(evaluate(constraint.value, self.values.__getitem__))

    def finding(self, word: int) -> Iterator[tuple[bool, bool]]:
        for read, source in self.rf.items():
            if self.values[read] == word:
                yield source < 0, source >= 0

    def overwriting(self, write: int, source: int) -> bool:
        chain = self.chains[self.acts[write].address]
        before = chain[chain.index(write) - 1]
        return before == source if source != INIT else before < 0

    # -- to be shown --------------------------------------------------------------

    def found(self, made: Literal) -> Found:
        """What can be drawn of it."""
        return Found(
            graph=self.graph,
            acts=self.acts,
            values=self.values,
            initial={place: self.values[chain[0]] for place, chain in self.chains.items()},
            rf={read: source if source >= 0 else INIT for read, source in self.rf.items()},
            orders={place: chain[1:] for place, chain in self.chains.items()},
            steps=[Edge(a, name, b) for name, rel in made.steps() for a, b in sorted(rel)],
            final=self.final,
        )
