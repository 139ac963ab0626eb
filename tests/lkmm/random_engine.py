"""A toy engine: makes up executions at random, and keeps those that the model allows.

It is a module with ``decide``, made of what all engines share; a line in ``ENGINES`` makes it
one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from mkold.ir.formula import holds
from mkold.ir.program import TRUE, Mem, Observed, Program
from mkold.lkmm.ask import Ask
from mkold.lkmm.graph.events import INIT, Graph
from mkold.lkmm.graph.values import Constraint, Value, evaluate
from mkold.lkmm.known.words import MayValues, initial_word
from mkold.lkmm.model.axioms import judge
from mkold.lkmm.paths.flags import own_flags
from mkold.lkmm.paths.ordering import order_path
from mkold.lkmm.paths.paths import Act, Path, unit_paths
from mkold.lkmm.paths.question import addresses, register_value
from mkold.lkmm.tally import Tally
from mkold.lkmm.unroll import unroll
from mkold.lkmm.verdict import Verdict

TRIES = 400


def decide(program: Program, ask: Ask, check: Callable[[], None]) -> Verdict:
    """What ``TRIES`` draws come upon: every state is one, but not all need be found."""
    graph = unroll(program, ask.max_unroll, check)
    may, random = MayValues(graph), Random(program.name)
    units = [unit_paths(graph, unit, may, check) for unit in range(len(program.threads))]
    tally = Tally(program, ask)
    for _ in range(TRIES):
        check()
        drawn = Drawn(graph, [random.choice(paths) for paths in units], random)
        if not any(path.cut for path in drawn.paths) and drawn.coherent() and drawn.fits():
            look_at(drawn, tally)
    return tally.verdict()


def look_at(drawn: Drawn, tally: Tally) -> None:
    """Judge one execution, and keep what it adds."""
    program = tally.program
    tally.n_candidates += 1
    judged = judge([order_path(path) for path in drawn.paths], drawn, set(addresses(program)))
    if not judged.rows or not holds(program.filter or TRUE, drawn.at):
        return
    good = program.condition is None or holds(program.condition.formula, drawn.at)
    tally.yes, tally.no = tally.yes or good, tally.no or not good
    tally.states.add([tuple(map(drawn.at, program.observed))])
    tally.flags |= judged.flags.keys()
    tally.flags |= own_of(program, drawn)


def own_of(program: Program, drawn: Drawn) -> set[str]:
    """mkold's own flags of one execution."""
    return {flag for flag, here in own_flags(program, drawn.paths, drawn) if here}


class Drawn:
    """One execution, as the model takes it: masks of a single bit."""

    rows = 1

    def __init__(self, graph: Graph, paths: Sequence[Path], random: Random) -> None:
        self.graph, self.paths = graph, paths
        self.acts: Mapping[int, Act] = {act.id: act for path in paths for act in path.acts}
        self.orders: dict[int, list[int]] = {}
        for act in self.acts.values():
            if act.is_read or act.is_write:
                self.orders.setdefault(act.address, [])
            if act.is_write:
                self.orders[act.address].append(act.id)
        for order in self.orders.values():
            random.shuffle(order)
        self.source = {
            act.id: random.choice([INIT, *self.orders[act.address]])
            for act in self.acts.values()
            if act.is_read
        }
        self.rf = {read: {source: 1} for read, source in self.source.items()}
        self.co = {
            write: dict.fromkeys(order[i + 1 :], 1)
            for order in self.orders.values()
            for i, write in enumerate(order)
        }

    def _place(self, act: Act) -> int:
        """Where in coherence order a write is, or what a read finds; 0: the initial word."""
        write = act.id if act.is_write else self.source[act.id]
        return 0 if write == INIT else self.orders[act.address].index(write) + 1

    def coherent(self) -> bool:
        """Places rise along program order; an update finds the write just before its own."""
        last: dict[tuple[int, int], int] = {}
        for path in self.paths:
            for act in path.acts:
                if act.is_read or act.is_write:
                    key, place = (act.thread, act.address), self._place(act)
                    if place < last.get(key, 0) + (act.is_write and key in last):
                        return False
                    torn = act.is_read and act.rmw >= 0
                    if torn and self._place(self.acts[act.rmw]) != place + 1:
                        return False
                    last[key] = place
        return True

    def fits(self) -> bool:
        """Whether its words make it take these paths."""
        wanted = [c for path in self.paths for c in path.constraints]
        try:
            return all(map(self.where, wanted)) and all(
                act.node.must in (None, self.found(act.id))
                for act in self.acts.values()
                if act.is_read
            )
        except RecursionError:  # a word out of thin air
            return False

    # -- words --------------------------------------------------------------------

    def found(self, read: int) -> int:
        source = self.source[read]
        if source == INIT:
            return initial_word(self.graph, self.acts[read].address)
        return self.word(self.acts[source].value)

    def word(self, value: Value) -> int:
        return evaluate(value, self.found)

    def at(self, place: Observed) -> int:
        if isinstance(place, Mem):
            order = self.orders.get(place.address)
            if not order:
                return initial_word(self.graph, place.address)
            return self.word(self.acts[order[-1]].value)
        return self.word(register_value(self.graph, place, self.paths[place.thread]))

    # -- as candidates of the model -----------------------------------------------

    def fr(self) -> dict[int, dict[int, int]]:
        return {
            read: dict.fromkeys(self.orders[self.acts[read].address][self._place(act) :], 1)
            for read, act in ((read, self.acts[read]) for read in self.source)
        }

    def words(self, value: Value) -> dict[int, int]:
        return {self.word(value): 1}

    # -- as executions that may raise flags ---------------------------------------

    def every(self) -> bool:
        return True

    def where(self, constraint: Constraint) -> bool:
        return constraint.met_by(self.word(constraint.value))

    def finding(self, word: int) -> Iterator[tuple[bool, bool]]:
        for read, source in self.source.items():
            if self.found(read) == word:
                yield source == INIT, source != INIT

    def overwriting(self, write: int, source: int) -> bool:
        order = self.orders[self.acts[write].address]
        at = order.index(write)
        return source == (order[at - 1] if at else INIT)
