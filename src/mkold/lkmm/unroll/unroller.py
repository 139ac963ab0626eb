"""From a program to its event graph: inlines calls, unrolls loops, splits on branches.

Rules
-----
* A branch on a known value costs nothing; any other is a numbered decision.
* Where two branches meet, locals that differ become ``phi`` values.
* Control dependency: what runs under a branch depends on its condition; what follows the
  branch does not, unless one side left early (explanation.txt, "Dependency relations":
  it affects whether the later event is executed at all).
* A loop is unrolled ``max_unroll`` times; paths that want more are cut and reported.
* ``call_rcu``, for which LKMM has no event, is a release store to a word of its own, and a
  process whose acquire load must find it, which then waits for a grace period
  (Documentation/litmus-tests.txt, "Limitations", says to emulate it by such a process).

Known limit: control dependencies from a loop's condition end with the loop, as in herd.
"""

from __future__ import annotations

from collections.abc import Callable

from mkold.ir.nodes import (
    Assign,
    Block,
    Break,
    Call,
    CallRcu,
    Continue,
    Function,
    If,
    Loop,
    Op,
    Return,
    Stmt,
)
from mkold.ir.prims import PRIMS
from mkold.ir.program import Program
from mkold.lkmm.graph.events import Graph
from mkold.lkmm.graph.guards import either, negate
from mkold.lkmm.graph.values import NO_TAINT, Taint, Value, merge_taints, taint_under, under
from mkold.lkmm.unroll import atomic, primitives
from mkold.lkmm.unroll.builder import Builder
from mkold.lkmm.unroll.state import Env, Frame, State, at_start, meet, meet_env

MAX_FORCED = 4_096  # rounds of a loop that has no choice but to go on


class Unroller(Builder):
    """Runs the program's threads, on all paths at once."""

    def __init__(self, program: Program, max_unroll: int, check: Callable[[], None]) -> None:
        super().__init__(program, check)
        self.max_unroll = max_unroll

    def run(self) -> Graph:
        names = [thread.name for thread in self.program.threads]
        self.graph.thread_names = names
        self.graph.unit_of_thread = list(range(len(names)))
        self._po = [0] * len(names)
        for unit, thread in enumerate(self.program.threads):
            self.thread = self.unit = unit
            function = self.program.functions[thread.function]
            args: list[tuple[Value, Taint]] = [(arg, NO_TAINT) for arg in thread.args]
            state = State({}, 1, NO_TAINT, at_start())
            self.where = (unit,)
            env = self.call(function, args, state)[1]
            self.graph.finals.append({name: value for name, (value, _) in env.items()})
        return self.graph

    # -- statements ---------------------------------------------------------------

    def call(
        self, function: Function, args: list[tuple[Value, Taint]], state: State
    ) -> tuple[list[tuple[Value, Taint]], Env]:
        """Run ``function`` from ``state`` (updated); its results and last locals."""
        frame = Frame()
        env = dict(zip(function.params, args, strict=True))
        inner = State(env, state.live, state.ctrl, state.mem)
        self.block(function.body, inner, frame)
        if inner.live != 0:
            frame.returns.append((inner, []))
        if not frame.returns:
            state.live = 0
            return [(0, NO_TAINT)] * function.n_results, {}
        last, results = frame.returns[-1]
        env, mem = last.env, last.mem
        for left, values in reversed(frame.returns[:-1]):
            results = [meet(left.live, a, b) for a, b in zip(values, results, strict=True)]
            env = meet_env(left.live, left.env, env)
            mem = self.meet_mem(left.live, left.mem, mem)
        state.mem = mem
        return results, env

    def call_rcu(self, stmt: CallRcu, function: Function, arg: Value, state: State) -> None:
        """The caller's half, then the process that waits for a grace period."""
        graph = self.graph
        word = graph.private
        graph.private += 1
        common: dict[str, object] = {"prim": "call_rcu", "what": function.name, "at": stmt.at}
        self.add(state, "W", "release", addr=word, value=1, **common)
        caller = self.thread
        self.start_thread(f"{graph.thread_names[caller]}:{function.name}")
        inner = State({}, state.live, NO_TAINT, atomic.in_callback())
        got = self.add(inner, "R", "acquire", addr=word, must=1, **common)
        got.value = self.found(got, inner)
        self.add(inner, "F", "sync-rcu", **common)
        outer, self.where = self.where, (*self.where, id(stmt))
        self.call(function, [(arg, {got.id: got.guard})], inner)
        self.where = outer
        self.thread = caller

    def block(self, body: tuple[Stmt, ...], state: State, frame: Frame) -> None:
        for stmt in body:
            if state.live == 0:
                return
            self.statement(stmt, state, frame)

    def statement(self, stmt: Stmt, state: State, frame: Frame) -> None:
        match stmt:
            case Assign(dst, value):
                state.env[dst] = self.expr(value, state)
            case Op():
                atomic.before(self, PRIMS[stmt.prim], state)
                self.perform(stmt, state)
            case Call(function, dsts, args):
                callee = self.program.functions[function]
                values = [self.expr(arg, state) for arg in args]
                outer, self.where = self.where, (*self.where, id(stmt))
                results, _ = self.call(callee, values, state)
                self.where = outer
                state.env.update(zip(dsts, results, strict=False))
            case CallRcu(function, argument):
                callee = self.program.functions[function]
                self.call_rcu(stmt, callee, self.expr(argument, state)[0], state)
            case If(cond, then, orelse):
                self.branch(self.expr(cond, state), then, orelse, state, frame)
            case Block():
                self.labelled(stmt, state, frame)
            case Loop():
                self.loop(stmt, state, frame)
            case Break(label=label):
                frame.scope(label).breaks.append(state.now())
                state.live = 0
            case Continue(label=label):
                frame.scope(label).continues.append(state.now())
                state.live = 0
            case Return(values):
                results = [self.expr(value, state) for value in values]
                frame.returns.append((state.now(), results))
                state.live = 0

    def perform(self, op: Op, state: State) -> None:
        primitives.perform(self, op, PRIMS[op.prim], state)

    def branch(
        self,
        cond: tuple[Value, Taint],
        then: tuple[Stmt, ...],
        orelse: tuple[Stmt, ...],
        state: State,
        frame: Frame,
    ) -> None:
        taken = self.decide(state, cond[0])
        if isinstance(taken, int):
            if cond[1]:  # a constant by folding still is a condition that was computed
                self._one_side(then if taken else orelse, cond[1], state, frame)
            else:
                self.block(then if taken else orelse, state, frame)
            return
        ctrl = merge_taints(state.ctrl, taint_under(cond[1], state.live))
        yes, no = state.under(taken, ctrl), state.under(negate(taken), ctrl)
        yes_alive, no_alive = yes.live, no.live
        self.block(then, yes, frame)
        self.block(orelse, no, frame)
        if yes.live == yes_alive and no.live == no_alive:  # nobody left
            state.env = meet_env(taken, yes.env, no.env)
            state.mem = self.meet_mem(taken, yes.mem, no.mem)
            return
        state.ctrl = merge_taints(ctrl, yes.ctrl, no.ctrl)
        if yes.live == 0 or no.live == 0:
            one = no if yes.live == 0 else yes
            state.env = one.env
            state.mem = {
                address: (under(value, one.live), taint)
                for address, (value, taint) in one.mem.items()
            }
        else:
            state.env = meet_env(yes.live, yes.env, no.env)
            state.mem = self.meet_mem(yes.live, yes.mem, no.mem)
        state.live = either(yes.live, no.live)

    def _one_side(
        self, body: tuple[Stmt, ...], taint: Taint, state: State, frame: Frame
    ) -> None:
        before, alive = state.ctrl, state.live
        state.ctrl = merge_taints(before, taint_under(taint, alive))
        self.block(body, state, frame)
        if state.live == alive:
            state.ctrl = before

    def labelled(self, stmt: Block, state: State, frame: Frame) -> None:
        live, ctrl, n_left = state.live, state.ctrl, frame.n_left()
        scope = frame.enter(stmt.label, is_loop=False)
        self.block(stmt.body, state, frame)
        frame.scopes.pop()
        self.join(state, scope.breaks)
        if state.live != 0 and frame.n_left() == n_left:
            state.live, state.ctrl = live, ctrl

    # -- loops --------------------------------------------------------------------

    def loop(self, stmt: Loop, state: State, frame: Frame) -> None:
        live, ctrl, n_left = state.live, state.ctrl, frame.n_left()
        scope = frame.enter(stmt.label, is_loop=True)
        outer = self.where
        n_open = 0  # rounds after which it is open whether there is another
        for turn in range(MAX_FORCED):
            self.where = (*outer, id(stmt.body), turn)
            start, n_nodes = state.under(1, state.ctrl), len(self.graph.nodes)
            self.block(stmt.body, state, frame)
            self.join(state, scope.continues)
            scope.continues = []
            if state.live == 0:
                break
            self.block(stmt.step, state, frame)
            if self.only_waits(stmt, start, state, n_nodes):
                self.graph.waits.append((state.live, self.unit))
                state.live = 0
                break
            n_open += state.live != start.live
            if self.enough(turn + 1, n_open):
                self._cut(state)
                break
        else:
            self._cut(state)
        self.where = outer
        frame.scopes.pop()
        self.join(state, scope.breaks)
        if state.live != 0 and frame.n_left() == n_left:
            state.live, state.ctrl = live, ctrl

    def only_waits(self, loop: Loop, start: State, state: State, n_nodes: int) -> bool:
        """Whether the round just done, of the nodes from ``n_nodes`` on, plainly changed
        nothing where the loop goes on."""
        return False

    def enough(self, n_rounds: int, n_open: int) -> bool:
        """Whether a loop is left undone after ``n_rounds`` rounds, ``n_open`` of which left
        open whether there is another."""
        return n_rounds == self.max_unroll

    def _cut(self, state: State) -> None:
        self.graph.cuts.append((state.live, self.unit))
        state.live = 0

    def join(self, state: State, others: list[State]) -> None:
        """Let the paths ``others`` flow into ``state``."""
        for other in others:
            if state.live == 0:
                state.env, state.live, state.ctrl = other.env, other.live, other.ctrl
                state.mem = other.mem
            else:
                state.env = meet_env(other.live, other.env, state.env)
                state.mem = self.meet_mem(other.live, other.mem, state.mem)
                state.live = either(other.live, state.live)
                state.ctrl = merge_taints(other.ctrl, state.ctrl)
