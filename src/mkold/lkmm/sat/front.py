"""From a program to its event graph, by rounds: what reads may find, where accesses may go.

The project's own unroller does the walking; this is its memory. A read's domain is what its
own thread stored there last (or the initial word), and what other threads stored there in the
rounds before. Words that only one thread ever touches, by plain or ONCE accesses at known
addresses, are kept like locals and make no events.

An access goes to the words of memory that there are, and to no others of those that its
address may be, as far as the domains tell: most of them it never is. Whether any goes
elsewhere is asked at the end, of all executions (``Formula.wild``); where one does, that
word is one of memory from then on (``strays``).

How loops end is in ``loops``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mkold.base.errors import LimitError
from mkold.ir.nodes import Call, CallRcu, Loop, Op, walk
from mkold.ir.prims import PRIMS
from mkold.ir.program import POISON, POISONS, Program
from mkold.lkmm.graph.events import Graph, Life, Node
from mkold.lkmm.graph.guards import Guard, implies, negate
from mkold.lkmm.graph.values import (
    NO_TAINT,
    Applied,
    Taint,
    Value,
    binary,
    found,
    merge_taints,
    select,
)
from mkold.lkmm.known.objects import Objects
from mkold.lkmm.sat import abstract
from mkold.lkmm.sat.abstract import Abstract, Partly, only
from mkold.lkmm.sat.knowledge import Knowledge
from mkold.lkmm.sat.loops import Key, Loops
from mkold.lkmm.sat.possible import Answers, Possible, Thinker
from mkold.lkmm.sat.solver import Solver
from mkold.lkmm.sat.waiting import Cut, Keep, Stand, is_quiet
from mkold.lkmm.unroll.state import State
from mkold.lkmm.unroll.unroller import Unroller

MANY = 64  # addresses of one access
MOST_POISONED = 4_096


@dataclass(slots=True)
class Unrolled:
    """An event graph, and what the formula has to know of how it came about.

    ``places``: the words at which each memory node may be; it is nowhere else for certain if
    it is among ``tame``. ``domains``: what each read may
    find. ``stands``, ``keeps``, ``cuts``: where threads may stop (see ``waiting``).
    """

    graph: Graph
    places: dict[int, list[int]] = field(default_factory=dict)
    tame: set[int] = field(default_factory=set)
    domains: dict[int, Abstract] = field(default_factory=dict)
    stands: list[Stand] = field(default_factory=list)
    keeps: list[Keep] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)


class Front(Loops):
    """One round of unrolling, on what the rounds before it learnt.

    Parameters
    ----------
    bounds : for loops that were found to need it, how many open rounds to unroll
    """

    def __init__(
        self,
        program: Program,
        bounds: Mapping[Key, int],
        check: Callable[[], None],
        knowledge: Knowledge,
        possible: Possible,
    ) -> None:
        super().__init__(program, bounds, check)
        self.knowledge, self.possible = knowledge, possible
        self.graph.decisions = possible.decisions
        self.made = Unrolled(self.graph, domains=possible.domains)
        self.shared = knowledge.shared(program)
        self.objects = Objects(program)
        self.memory = knowledge.words(program) | knowledge.strays
        self.round = Knowledge(sites=knowledge.sites)

    # -- questions ----------------------------------------------------------------

    def decide(self, state: State, cond: Value | None) -> Guard:
        """The guard "``cond`` is not zero": a constant, or a new decision."""
        self.check()
        if isinstance(cond, int):
            return int(cond != 0)
        if cond is None:
            return self._new_decision(state, cond)
        known = self.possible.truth(cond, state.live)
        if known is not None:
            return known
        flip = isinstance(cond, Applied) and cond.op == "lnot"
        plain = cond.a if isinstance(cond, Applied) and cond.op == "lnot" else cond
        for guard, decision in self._decided.get(plain, ()):
            if implies(state.live, guard):  # asked before on the way here
                return negate(decision) if flip else decision
        decision = self._new_decision(state, plain)
        self._decided.setdefault(plain, []).append((state.live, decision))
        return negate(decision) if flip else decision

    def settled(self, value: Value, state: State) -> Value:
        """``value``, or the one word that it can only be."""
        if isinstance(value, int):
            return value
        word = only(self.possible.words(value, state.live))
        return value if word is None else word

    def is_lock(self, address: Value, state: State) -> bool:
        """Whether the word at ``address`` is used as a lock, as far as is known."""
        places, _ = self._places(address, state)
        return bool(places) and self.knowledge.locks.issuperset(places)

    def is_watched(self, address: Value, life: Life, state: State) -> bool:
        """Whether a write there must be an event, so that what is wrong with it is seen."""
        if not isinstance(address, int) or life is Life.GIVEN:
            return False
        stored = state.mem.get(address)
        watched = stored is not None and abstract.may_be(
            self.possible.words(stored[0], state.live), POISON
        )
        if life is Life.FREED:
            watched |= self.objects.start(address) is not None
        if watched:
            self.round.of(self.thread)[1].add(address)
            self.round.events.add(address)
        return watched

    def largest(self, value: Value, state: State) -> int:
        """The largest word that ``value`` may be."""
        if isinstance(value, int):
            return value
        words = self.possible.words(value, state.live, thorough=True)
        most = max(words, default=0) if isinstance(words, dict) else MOST_POISONED + 1
        if most > MOST_POISONED:
            raise LimitError("the number of words to poison is not known to be small")
        return most

    def _places(self, value: Value, state: State) -> tuple[list[int], bool]:
        """Where an access may go; whether it goes nowhere else."""
        if isinstance(value, int):
            places = [value] if value or 0 in self.memory else []
            return places, bool(places)
        words = self.possible.words(value, state.live, thorough=True)
        if isinstance(words, dict):
            places = sorted(self.memory & words.keys())
            return places, len(places) == len(words)
        places = sorted(word for word in self.memory if abstract.may_be(words, word))
        if len(places) > MANY:
            raise LimitError(f"{self.program.name}: an access may go to {len(places)} words")
        return places, False

    # -- memory -------------------------------------------------------------------

    def perform(self, op: Op, state: State) -> None:
        self.may_stop(op, state)
        if state.live == 0:
            return
        super().perform(op, state)
        if PRIMS[op.prim].awaits == "srcu":
            waited_for, _ = self._places(self.graph.nodes[-1].addr, state)
            self.round.events.update(waited_for)

    def _touch(self, node: Node, state: State) -> list[int]:
        """The words at which ``node`` may be."""
        places, tame = self._places(node.addr, state)
        if tame:
            self.made.tame.add(node.id)
        self.round.of(self.thread)[1].update(places)
        self.round.events.update(places)
        row = PRIMS.get(node.prim)
        if row is not None and row.holds is not None and row.lvalue:
            self.round.locks.update(places)
        if row is not None and is_quiet(row):
            if tame and self.knowledge.looked_at.isdisjoint(places):
                self.unseen.add(node.id)
        elif (
            node.life is Life.NONE  # setting up and freeing a lock is no look at it
            and node.id not in self.standing
            and node.kind not in ("LKR", "LKW")
        ):
            self.round.looked_at.update(places)
        self.made.places[node.id] = places
        return places

    def found(self, node: Node, state: State) -> Value:
        """What the read ``node`` finds."""
        places = self._touch(node, state)
        domains = self.made.domains
        if not places:  # it goes nowhere that is known: what it finds is of no account
            domains[node.id] = abstract.constant(0)
            return 0
        last = self._last(node.addr, set(places), state)
        others = self.knowledge.others(self.thread, places)
        word = self.possible.words(last, state.live)
        if others is not None:
            word = abstract.join(word, others)
        for place in self.knowledge.unordered.intersection(places):  # all that was ever there
            word = abstract.join(word, abstract.constant(self.initial(place)))
        if node.must is not None:
            if not any(abstract.may_be(word, poison) for poison in POISONS):
                domains[node.id] = abstract.constant(node.must)
                return node.must
            node.must = None  # what is freed or not set up is found as well
        domains[node.id] = word if isinstance(word, Partly) or word else abstract.constant(0)
        one = only(word)
        if one is not None:
            return one
        return last if others is None else found(node.id)

    def stored(self, node: Node, state: State) -> None:
        """The write ``node`` is there to be found, by others and by its own thread."""
        places = self._touch(node, state)
        if node.group:
            self.round.unordered.update(places)
        word = self.possible.words(node.value, state.live)
        if not isinstance(node.value, int):
            site = self.knowledge.site((self.where, node.stmt, node.kind))
            word = abstract.through(site, word)
        if isinstance(word, Partly) or word:
            self.round.store(self.thread, places, word)
        for address in places:
            here = binary("eq", node.addr, address)
            before = state.mem.get(address, (self.initial(address), NO_TAINT))
            taint = merge_taints(before[1], node.data_deps, node.addr_deps)
            state.mem[address] = select(here, node.value, before[0]), taint

    def load_private(
        self, address: tuple[Value, Taint], state: State
    ) -> tuple[Value, Taint] | None:
        """What a word that only this thread touches holds; None: make it an event."""
        at, taint = address
        if not isinstance(at, int) or at in self.shared or self.objects.stray(at):
            return None
        touched = self.round.of(self.thread)[1]
        touched.add(at)
        value, deps = state.mem.get(at, (self.initial(at), NO_TAINT))
        word = self.possible.words(value, state.live)
        if at == 0 or any(abstract.may_be(word, p) for p in POISONS):  # to be seen
            self.round.events.add(at)
        return value, merge_taints(taint, deps)

    def store_private(
        self, address: tuple[Value, Taint], value: tuple[Value, Taint], state: State
    ) -> bool:
        """Keep a store to a word that only this thread touches; False: make it an event."""
        at, taint = address
        if not isinstance(at, int) or at in self.shared or self.objects.stray(at):
            return False
        self.round.of(self.thread)[1].add(at)
        if at == 0:
            self.round.events.add(at)
        self.round.store(self.thread, [at], self.possible.words(value[0], state.live))
        state.mem[at] = value[0], merge_taints(taint, value[1])
        return True


def unroll(
    program: Program,
    bounds: Mapping[Key, int],
    check: Callable[[], None],
    knowledge: Knowledge,
    thinker: Thinker,
) -> Unrolled:
    """Unroll until a round learns nothing new.

    ``knowledge`` and ``thinker`` may be those of an earlier call with smaller bounds.

    Raises
    ------
    LimitError : the graph grows too large
    UnsupportedError : a construct that the model can't express
    """
    answers, idle = Answers(), 0
    shape: tuple[int, ...] = ()
    while True:
        possible = Possible(answers, thinker)
        front = Front(program, bounds, check, knowledge, possible)
        graph = front.run()
        answers = possible.now
        before = shape
        shape = (len(graph.nodes), len(graph.decisions), len(knowledge.events),
                 sum(map(len, knowledge.touched)))  # fmt: skip
        idle = idle + 1 if shape == before else 0
        if not knowledge.learn(front.round, idle):
            front.made.cuts, front.made.stands = front.cuts, front.stands
            front.made.keeps = front.keeps
            return front.made


def unroll_plainly(program: Program, check: Callable[[], None]) -> Unrolled | None:
    """Every event of a program without loops and calls, whatever its reads may find.

    For pictures of what coherence forbids: none of that is in the domains of ``unroll``.
    """
    for thread in program.threads:
        for stmt in walk(program.functions[thread.function].body):
            if isinstance(stmt, Loop | Call | CallRcu):
                return None
    graph = Unroller(program, 1, check).run()
    memory = sorted({n.addr for n in graph.nodes if isinstance(n.addr, int) and n.addr > 0})
    accesses = [n for n in graph.nodes if n.is_read or n.is_write]
    places = {n.id: [n.addr] if isinstance(n.addr, int) else memory for n in accesses}
    domains = {n.id: n.must for n in accesses if n.is_read}
    return Unrolled(graph, places, domains={
        read: abstract.ANY if must is None else abstract.constant(must)
        for read, must in domains.items()
    })  # fmt: skip


def new_thinker(check: Callable[[], None]) -> Thinker:
    """What all rounds of one program share."""
    return Thinker(Solver(check))
