"""Loops while a program is unrolled: rounds that change something, and rounds that only wait.

After each round the loop goes on where something has changed, and waits where nothing has;
which of the two it is may depend on what was found (a compare-and-swap that carries the word
it saw into its next round). See ``waiting`` for what becomes of the rounds that wait.

A loop whose number of rounds is known runs to its end, also if it may be left before. Of
one where each round leaves open whether there is another, only so many rounds are unrolled as
``bounds`` says, by the loop, wherever it is called; paths that want more are cut, and the
caller asks whether any execution gets there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mkold.ir.flow import falls_through, is_endless
from mkold.ir.nodes import WORD_MASK, Block, Function, If, Loop, Stmt, locals_of
from mkold.ir.prims import PRIMS
from mkold.ir.program import POISON, Program
from mkold.lkmm.graph.events import Node
from mkold.lkmm.graph.guards import Guard, both, either, negate
from mkold.lkmm.graph.values import NO_TAINT, Taint, Value, binary, phi, under
from mkold.lkmm.sat.blocking import Blocking
from mkold.lkmm.sat.waiting import Cut, Keep, Stand, is_quiet
from mkold.lkmm.unroll.carried import Carried, Names
from mkold.lkmm.unroll.state import Env, Frame, Scope, State
from mkold.lkmm.unroll.unroller import MAX_FORCED

if TYPE_CHECKING:
    from mkold.lkmm.sat.possible import Possible

Key = int  # the identity of a loop in the source
FIRST_BOUND = 2  # open rounds of a loop, until it is found to need more
COUNTED = 256  # open rounds of a loop that counts, and would end by itself
KNOWN = 32  # rounds of one that is known to go on, but not by counting
MOST_RINGS = 4  # rounds that a loop without end may take to come back to where it was
ASK_FOR_POISON = 8  # known rounds, before it is asked whether only freed memory makes them


@dataclass(slots=True)
class _Again:
    """Of a loop's rounds so far: ``kept``, where one that waits was kept; ``only``: the
    next round happens only there; ``last``: it is the last; ``counted``: so many had a known
    end that was not yet reached; ``starts`` of the last few."""

    kept: Guard = 0
    only: bool = False
    last: bool = False
    rounds: int = 0
    counted: int = 0
    starts: deque[tuple[int, State]] = field(default_factory=lambda: deque(maxlen=MOST_RINGS))


class Loops(Blocking):
    """``keeps``, ``cuts``: where a thread may go round once more, or would."""

    possible: Possible
    shared: set[int]

    def __init__(
        self, program: Program, bounds: Mapping[Key, int], check: Callable[[], None]
    ) -> None:
        super().__init__(program, check)
        self.bounds = bounds
        self.carried = Carried(program)
        self.keeps: list[Keep] = []
        self.cuts: list[Cut] = []
        self._inside: list[tuple[Loop, _Again]] = []  # the loops that are under way
        self.unseen: set[int] = set()  # that take or leave locks which others only take

    # -- who goes on --------------------------------------------------------------

    def _narrow(self, state: State, live: Guard, n_stops: int) -> None:
        """Nobody left but who stopped: alive is who was alive in ``live`` and did not."""
        for stop in self.stops[n_stops:]:
            live = both(live, negate(stop))
        state.live = live

    def call(
        self, function: Function, args: list[tuple[Value, Taint]], state: State
    ) -> tuple[list[tuple[Value, Taint]], Env]:
        live, n_stops = state.live, len(self.stops)
        results = super().call(function, args, state)
        if state.live != 0:
            self._narrow(state, live, n_stops)
        return results

    def labelled(self, stmt: Block, state: State, frame: Frame) -> None:
        live, n_left, n_stops = state.live, frame.n_left(), len(self.stops)
        super().labelled(stmt, state, frame)
        if state.live != 0 and frame.n_left() == n_left:
            self._narrow(state, live, n_stops)

    def branch(
        self,
        cond: tuple[Value, Taint],
        then: tuple[Stmt, ...],
        orelse: tuple[Stmt, ...],
        state: State,
        frame: Frame,
    ) -> None:
        """As for every branch; but who stops has not left, and orders nothing after it."""
        live, before = state.live, state.ctrl
        n_left, n_stops = frame.n_left(), len(self.stops)
        super().branch(cond, then, orelse, state, frame)
        if len(self.stops) > n_stops and state.live != 0 and frame.n_left() == n_left:
            self._narrow(state, live, n_stops)
            state.ctrl = before

    def statement(self, stmt: Stmt, state: State, frame: Frame) -> None:
        if isinstance(stmt, If) and self._inside:
            loop, again = self._inside[-1]
            if again.counted <= again.rounds and self._is_count(stmt, loop, state):
                again.counted = again.rounds + 1
        super().statement(stmt, state, frame)

    def _is_count(self, stmt: If, loop: Loop, state: State) -> bool:
        """Whether it is known not to leave yet, by a local that the rounds hand on."""
        if self.carried.of(loop).isdisjoint(locals_of(stmt.cond)):
            return False
        known = self.expr(stmt.cond, state)[0]
        if not isinstance(known, int):
            return False
        return not falls_through(stmt.orelse if known else stmt.then)

    def _one_side(
        self, body: tuple[Stmt, ...], taint: Taint, state: State, frame: Frame
    ) -> None:
        before, n_left = state.ctrl, frame.n_left()
        super()._one_side(body, taint, state, frame)
        if frame.n_left() == n_left:
            state.ctrl = before

    # -- loops --------------------------------------------------------------------

    def loop(self, stmt: Loop, state: State, frame: Frame) -> None:
        live, ctrl = state.live, state.ctrl
        n_left, n_stops = frame.n_left(), len(self.stops)
        scope = frame.enter(stmt.label, is_loop=True)
        outer = self.where
        self._rounds(stmt, state, frame, scope)
        self.where = outer
        frame.scopes.pop()
        self.join(state, scope.breaks)
        if state.live != 0 and frame.n_left() == n_left:
            self._narrow(state, live, n_stops)
            state.ctrl = ctrl

    def _rounds(self, stmt: Loop, state: State, frame: Frame, scope: Scope) -> None:
        again = _Again()
        self._inside.append((stmt, again))
        try:
            self._each_round(stmt, state, frame, scope, again)
        finally:
            self._inside.pop()

    def _each_round(
        self, stmt: Loop, state: State, frame: Frame, scope: Scope, again: _Again
    ) -> None:
        outer, bound = self.where, self.bounds.get(id(stmt), FIRST_BOUND)
        n_open = 0  # rounds after which it is open whether there is another
        for turn in range(MAX_FORCED):
            self.where = (*outer, id(stmt.body), -1 - turn)  # negative: it is a turn
            start, n_nodes = state.under(1, state.ctrl), len(self.graph.nodes)
            self.block(stmt.body, state, frame)
            self.join(state, scope.continues)
            scope.continues = []
            if state.live == 0:
                return
            self.block(stmt.step, state, frame)
            n_open += state.live != start.live or is_endless(stmt)
            again.rounds += 1
            again.starts.append((n_nodes, start))
            self._go_on(stmt, start, state, self.graph.nodes[n_nodes:], again)
            if state.live == 0:
                return
            counts = again.counted == again.rounds and n_open < COUNTED
            if turn >= KNOWN:
                counts &= any(a != b for a, b in _words(self.carried.of(stmt), start, state))
                n_open = max(n_open, bound)
            if counts:
                continue
            if n_open >= bound and again.kept != 0 and not again.last:
                spare = both(state.live, again.kept)  # one round more for who kept one
                state.live = both(state.live, negate(again.kept))
                self._cut(state, stmt, again)
                state.live, again.last = spare, True
            elif n_open >= bound or self._poisoned(turn, state):
                self._cut(state, stmt, again, poisoned=n_open < bound)
                return
        self._cut(state, stmt, again)

    def _go_on(
        self, stmt: Loop, start: State, state: State, nodes: list[Node], again: _Again
    ) -> None:
        """Leave ``state`` where the loop goes on, and let the thread stop where it waits."""
        names = self.carried.of(stmt)
        changed = self.decide(state, self._changed(names, start, state, nodes))
        waits, on = both(state.live, negate(changed)), both(state.live, changed)
        if waits == 0:
            again.only = False
            return
        mine = tuple(node.id for node in nodes if node.thread == self.thread)
        state.live = on
        if not (again.last or (on == 0 and again.only)):
            keep = self._new_decision(State({}, waits, NO_TAINT), None)
            self.keeps.append(Keep(keep, self.unit, self.where, mine))
            waits = both(waits, negate(keep))
            state.live = either(on, keep)
            again.kept = either(again.kept, keep)
        again.only = on == 0
        po = self._po[self.thread]
        self.stop(Stand(waits, self.unit, self.thread, po, "loop", mine, at=stmt.at))

    def _cut(  # type: ignore[override]  # it is told more
        self, state: State, stmt: Loop, again: _Again, *, poisoned: bool = False
    ) -> None:
        last = self.graph.nodes[again.starts[-1][0] :]
        reads = tuple(n.id for n in last if n.thread == self.thread and n.is_read)
        rings = tuple(self._rings(stmt, state, again))
        cut = Cut(state.live, self.unit, self.thread, id(stmt), again.rounds, reads, stmt.at,
                  poisoned, rings, is_endless(stmt))  # fmt: skip
        self.cuts.append(cut)
        self.stops.append(cut.guard)
        state.live = 0

    def _rings(
        self, stmt: Loop, state: State, again: _Again
    ) -> Iterator[tuple[Guard, tuple[int, ...]]]:
        """For each round that begins as the loop now goes on: where, and the nodes since.

        But for locals that the rounds only add to, and go on alike whatever they hold.
        """
        names = self.carried.steering(stmt)
        for n_nodes, start in again.starts:
            nodes = self.graph.nodes[n_nodes:]
            if not any(node.is_write for node in nodes) and state.live != 0:
                came_back = self.decide(state, self._changed(names, start, state, nodes))
                guard = both(state.live, negate(came_back))
                if guard != 0:
                    yield guard, tuple(n.id for n in nodes if n.thread == self.thread)

    def _poisoned(self, turn: int, state: State) -> bool:
        """Whether only paths that found freed memory come to yet another round."""
        if turn < ASK_FOR_POISON or turn & (turn - 1):
            return False
        clean: Value = 1
        for node in self.graph.nodes:
            if node.thread == self.thread and node.is_read and not isinstance(node.value, int):
                found = binary("ne", node.value, POISON)
                clean = binary("and", clean, phi(node.guard, found, 1))
        return self.possible.truth(clean, state.live) == 0

    # -- what a round changed -----------------------------------------------------

    def _changed(self, names: Names, start: State, state: State, nodes: list[Node]) -> Value:
        """Not 0 where the round left something else, in ``names`` or memory, than it found."""
        differs: Value = 0
        for before, now in _words(names, start, state):
            differs = binary("or", differs, binary("ne", now, before))
        for address, (stored, _) in state.mem.items():
            if address not in self.shared:
                kept = start.mem.get(address, (self.initial(address), NO_TAINT))[0]
                now = under(stored, state.live)
                differs = binary("or", differs, binary("ne", now, kept))
        for node in nodes:
            if node.is_write or node.thread != self.thread:
                differs = binary("or", differs, self._written(node))
        return binary("or", differs, self._unbalanced(nodes))

    def _written(self, node: Node) -> Value:
        """Not 0 where ``node`` happens and does not put back what was there."""
        if node.id in self.unseen:
            return 0  # see ``_unbalanced``
        if node.rmw >= 0 and node.is_write:
            read = self.graph.nodes[node.rmw]
            return phi(node.guard, binary("ne", node.value, read.value), 0)
        return phi(node.guard, 1, 0)

    def _unbalanced(self, nodes: list[Node]) -> Value:
        """Not 0 where locks or sections are left in another way than they were found."""
        steps: dict[object, Counter[Guard]] = {}
        for node in nodes:
            row = PRIMS.get(node.prim)
            what: object = node.addr
            if node.order in ("rcu-lock", "rcu-unlock"):
                what, leaves = "rcu", node.order == "rcu-unlock"
            elif node.order in ("srcu-lock", "srcu-unlock"):
                what, leaves = ("srcu", node.addr), node.order == "srcu-unlock"
            elif row is not None and node.is_write and is_quiet(row):
                leaves = bool(row.leaves)
            else:
                continue
            steps.setdefault(what, Counter())[node.guard] += -1 if leaves else 1
        differs: Value = 0
        for counted in steps.values():
            depth: Value = 0
            for guard, n in counted.items():
                depth = binary("add", depth, phi(guard, n & WORD_MASK, 0))
            differs = binary("or", differs, binary("ne", depth, 0))
        return differs


def _words(names: Names, start: State, state: State) -> Iterator[tuple[Value, Value]]:
    """What each of these locals was at the start of a round, and is now."""
    none = (0, NO_TAINT)
    for name in sorted(names):
        now = under(state.env.get(name, none)[0], state.live)
        yield start.env.get(name, none)[0], now
