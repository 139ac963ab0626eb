"""From a program to its event graph: inlines calls, unrolls loops, splits on branches.

Rules
-----
* A branch on a known value costs nothing; any other is a numbered decision.
* Where two branches meet, locals that differ become ``phi`` values.
* Control dependency: what runs under a branch depends on its condition; what follows the
  branch does not, unless one side left early (explanation.txt, "Dependency relations":
  it affects whether the later event is executed at all).
* A loop is unrolled ``max_unroll`` times; paths that want more are cut and reported.

Known limit: control dependencies from a loop's condition end with the loop, as in herd.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mkold.base.errors import LimitError, UnsupportedError
from mkold.ir.meaning import expand
from mkold.ir.nodes import (
    Assign,
    Binary,
    Block,
    Break,
    Call,
    CallRcu,
    Const,
    Continue,
    Expr,
    Function,
    FunctionWord,
    If,
    Local,
    Loop,
    Op,
    Param,
    Return,
    Select,
    Stmt,
    Unary,
    walk,
)
from mkold.ir.prims import PRIMS
from mkold.ir.program import Program
from mkold.lkmm.graph.events import Decision, Graph, Node
from mkold.lkmm.graph.guards import Guard, both, either, implies, negate, taken
from mkold.lkmm.graph.values import (
    NO_TAINT,
    Applied,
    Taint,
    Value,
    binary,
    merge_taints,
    select,
    taint_under,
    unary,
    under,
)
from mkold.lkmm.known.oracle import Knowledge, Oracle
from mkold.lkmm.unroll import primitives
from mkold.lkmm.unroll.exposed import exposed
from mkold.lkmm.unroll.memory import Remembering
from mkold.lkmm.unroll.state import Env, Frame, State, at_start, meet, meet_env

MAX_NODES = 20_000
MAX_FORCED = 4_096  # rounds of a loop that has no choice but to go on


class Unroller(Remembering):
    """Builds one program's graph; ``thread`` and ``unit`` say where events now go."""

    def __init__(
        self,
        program: Program,
        max_unroll: int,
        check: Callable[[], None],
        oracle: Oracle | None = None,
    ) -> None:
        self.program = program
        self.check = check
        self.max_unroll = max_unroll
        self.where = ()
        self.passed = set()
        self.oracle = oracle
        self._decided: dict[Value, list[tuple[Guard, Guard]]] = {}
        self.graph = Graph(program)
        if oracle is not None:
            self.graph.decisions = oracle.decisions
            self.graph.domains = oracle.domains
        self.graph.private = self.graph.first_private = _first_free(program)
        self.thread = self.unit = 0
        self._po: list[int] = []

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

    # -- events -------------------------------------------------------------------

    def add(self, state: State, kind: str, order: str, **fields: object) -> Node:
        """A new event of the running thread under the state's guard."""
        self.check()
        nodes = self.graph.nodes
        if len(nodes) >= MAX_NODES:
            raise LimitError(f"{self.program.name}: more than {MAX_NODES} events")
        po = self._po[self.thread]
        self._po[self.thread] = po + 1
        node = Node(
            len(nodes), self.thread, po, kind, order, state.live,
            ctrl_deps=state.ctrl, **fields,  # type: ignore[arg-type]
        )  # fmt: skip
        nodes.append(node)
        return node

    def start_thread(self, name: str) -> None:
        """From now on events go to a new thread of the same unit."""
        self.graph.thread_names.append(name)
        self.graph.unit_of_thread.append(self.unit)
        self._po.append(0)
        self.thread = len(self._po) - 1

    def decide(self, state: State, cond: Value | None) -> Guard:
        """The guard "``cond`` is not zero": a constant, or a new decision."""
        self.check()
        if isinstance(cond, int):
            return int(cond != 0)
        if self.oracle is None or cond is None:
            return self._new_decision(state, cond)
        known = self.oracle.truth(state.live, cond)
        if known is not None:
            return known
        flip = type(cond) is Applied and cond.op == "lnot"
        plain = cond.a if type(cond) is Applied and cond.op == "lnot" else cond
        for guard, decision in self._decided.get(plain, ()):
            if implies(state.live, guard):  # asked before on the way here
                return negate(decision) if flip else decision
        decision = self._new_decision(state, plain)
        self._decided.setdefault(plain, []).append((state.live, decision))
        return negate(decision) if flip else decision

    def _new_decision(self, state: State, cond: Value | None) -> Guard:
        self.graph.decisions.append(Decision(state.live, cond, self.unit))
        return taken(len(self.graph.decisions) - 1)

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
                primitives.perform(self, stmt, PRIMS[stmt.prim], state)
            case Call(function, dsts, args):
                callee = self.program.functions[function]
                values = [self.expr(arg, state) for arg in args]
                outer, self.where = self.where, (*self.where, id(stmt))
                results, _ = self.call(callee, values, state)
                self.where = outer
                state.env.update(zip(dsts, results, strict=False))
            case CallRcu(function, argument):
                primitives.call_rcu(self, stmt, self.program.functions[function],
                                    self.expr(argument, state), state)  # fmt: skip
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

    def loop(self, stmt: Loop, state: State, frame: Frame) -> None:
        live, ctrl, n_left = state.live, state.ctrl, frame.n_left()
        scope = frame.enter(stmt.label, is_loop=True)
        outer = self.where
        n_open = 0  # rounds after which it is open whether there is another
        for turn in range(self.max_unroll if self.oracle is None else MAX_FORCED):
            self.where = (*outer, id(stmt.body), turn)
            start, n_nodes = state.under(1, state.ctrl), len(self.graph.nodes)
            self.block(stmt.body, state, frame)
            self.join(state, scope.continues)
            scope.continues = []
            if state.live == 0:
                break
            self.block(stmt.step, state, frame)
            if self._only_waits(stmt, start, state, n_nodes):
                self.graph.waits.append((state.live, self.unit))
                state.live = 0
                break
            n_open += state.live != start.live
            if self.oracle is not None and n_open == self.max_unroll:
                self._cut(state)
                break
        else:
            self._cut(state)
        self.where = outer
        frame.scopes.pop()
        self.join(state, scope.breaks)
        if state.live != 0 and frame.n_left() == n_left:
            state.live, state.ctrl = live, ctrl

    def _cut(self, state: State) -> None:
        self.graph.cuts.append((state.live, self.unit))
        state.live = 0

    def _only_waits(self, loop: Loop, start: State, state: State, n_nodes: int) -> bool:
        """Whether the round just done changed nothing where the loop goes on.

        Then it only waits for another thread, and leaving it out leaves every outcome.
        """
        if self.oracle is None:
            return False
        names = exposed(loop)
        if any(state.env.get(name) != start.env.get(name) for name in names):
            return False
        for address, (stored, _) in state.mem.items():
            before, _ = start.mem.get(address, (self.initial(address), NO_TAINT))
            differs = binary("ne", under(stored, state.live), before)
            if differs != 0 and self.oracle.truth(state.live, differs) != 0:
                return False
        new = self.graph.nodes[n_nodes:]
        return not any(
            node.is_write and self.oracle.possible(both(node.guard, state.live)) for node in new
        )

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

    # -- expressions --------------------------------------------------------------

    def expr(self, expr: Expr, state: State) -> tuple[Value, Taint]:
        """The value and what it depends on."""
        match expr:
            case Const(value):
                return value, NO_TAINT
            case FunctionWord():
                return expr.word, NO_TAINT
            case Local(name):
                return state.env.get(name, (0, NO_TAINT))
            case Binary(op, a, b):
                x, y = self.expr(a, state), self.expr(b, state)
                return binary(op, x[0], y[0]), merge_taints(x[1], y[1])
            case Unary(op, a):
                x = self.expr(a, state)
                return unary(op, x[0]), x[1]
            case Select(c, a, b):
                z, x, y = (self.expr(part, state) for part in (c, a, b))
                return select(z[0], x[0], y[0]), merge_taints(z[1], x[1], y[1])
            case Param(name):
                raise UnsupportedError(f"build parameter {name} has no value")


def unroll(
    program: Program, max_unroll: int = 16, check: Callable[[], None] = lambda: None
) -> Graph:
    """All events of ``program``; with loops or calls, by rounds (see ``oracle``).

    ``check`` is called now and then, and raises when time is up.

    Raises
    ------
    LimitError : the graph grows too large
    UnsupportedError : a build parameter was left without a value
    """
    functions = expand(program.functions)
    if functions is not program.functions:
        program = replace(program, functions=functions)
    calls_or_loops = (
        isinstance(stmt, Loop | Call | CallRcu)
        for function in _entries(program)
        for stmt in walk(function.body)
    )
    if not any(calls_or_loops):
        return Unroller(program, max_unroll, check).run()
    knowledge = Knowledge()
    shape: tuple[int, ...] = ()
    settled = 0  # rounds since the last that reached something new
    while True:
        oracle = Oracle(knowledge, program)
        graph = Unroller(program, max_unroll, check, oracle).run()
        news = knowledge.learn(oracle.round)
        before, shape = shape, _shape(graph, knowledge)
        settled = settled + 1 if shape == before else 0
        if not news or settled > n_computed(graph) + 1:
            return graph


def _shape(graph: Graph, knowledge: Knowledge) -> tuple[int, ...]:
    """What grows when a round gets somewhere that the one before it did not."""
    touched = sum(map(len, knowledge.touched))
    return len(graph.nodes), len(graph.decisions), touched, len(knowledge.events)


def n_computed(graph: Graph) -> int:
    """Writes whose word is computed from reads: a word can pass through each but once."""
    return sum(node.is_write and not isinstance(node.value, int) for node in graph.nodes)


def _entries(program: Program) -> list[Function]:
    return [program.functions[thread.function] for thread in program.threads]


def _first_free(program: Program) -> int:
    used = [*program.init, *program.symbols.values(), 1 << 62]
    return max(used) + 1
