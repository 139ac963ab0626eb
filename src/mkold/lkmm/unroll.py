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

from dataclasses import dataclass, field

from mkold.base.errors import LimitError, UnsupportedError
from mkold.ir.nodes import (
    Assign,
    Binary,
    Break,
    Call,
    CallRcu,
    Const,
    Continue,
    Expr,
    Function,
    If,
    Local,
    Loop,
    Op,
    Param,
    Return,
    Select,
    Stmt,
    Unary,
)
from mkold.ir.prims import PRIMS
from mkold.ir.program import Program
from mkold.lkmm import primitives
from mkold.lkmm.events import Decision, Graph, Node
from mkold.lkmm.symbolic import (
    NO_TAINT,
    Guard,
    Taint,
    Value,
    binary,
    both,
    either,
    merge_taints,
    negate,
    phi,
    select,
    taint_under,
    unary,
)

Env = dict[str, tuple[Value, Taint]]
MAX_NODES = 20_000


@dataclass(slots=True)
class State:
    """Where a path stands: locals, whether it is alive, what its being alive depends on."""

    env: Env
    live: Guard
    ctrl: Taint


@dataclass(slots=True)
class Frame:
    """Jumps met while a function body runs."""

    returns: list[tuple[State, list[tuple[Value, Taint]]]] = field(default_factory=list)
    breaks: list[list[State]] = field(default_factory=list)
    continues: list[list[State]] = field(default_factory=list)


class Unroller:
    """Builds one program's graph; ``thread`` and ``unit`` say where events now go."""

    def __init__(self, program: Program, max_unroll: int) -> None:
        self.program = program
        self.max_unroll = max_unroll
        self.graph = Graph(program)
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
            state = State({}, 1, NO_TAINT)
            env = self.call(function, args, state)[1]
            self.graph.finals.append({name: value for name, (value, _) in env.items()})
        return self.graph

    # -- events -------------------------------------------------------------------

    def add(self, state: State, kind: str, order: str, **fields: object) -> Node:
        """A new event of the running thread under the state's guard."""
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
        if type(cond) is int:
            return int(cond != 0)
        self.graph.decisions.append(Decision(state.live, cond, self.unit))
        return ("d", len(self.graph.decisions) - 1)

    # -- statements ---------------------------------------------------------------

    def call(
        self, function: Function, args: list[tuple[Value, Taint]], state: State
    ) -> tuple[list[tuple[Value, Taint]], Env]:
        """Run ``function`` from ``state`` (updated); its results and last locals."""
        frame = Frame()
        inner = State(dict(zip(function.params, args, strict=True)), state.live, state.ctrl)
        self.block(function.body, inner, frame)
        if inner.live != 0:
            frame.returns.append((inner, []))
        if not frame.returns:
            state.live = 0
            return [(0, NO_TAINT)] * function.n_results, {}
        results, env = frame.returns[-1][1], frame.returns[-1][0].env
        for left, values in reversed(frame.returns[:-1]):
            results = [
                _meet(left.live, a, b) for a, b in zip(values, results, strict=True)
            ]
            env = _meet_env(left.live, left.env, env)
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
                results, _ = self.call(callee, values, state)
                state.env.update(zip(dsts, results, strict=False))
            case CallRcu(function, argument):
                primitives.call_rcu(self, stmt, self.program.functions[function],
                                    self.expr(argument, state), state)  # fmt: skip
            case If(cond, then, orelse):
                self.branch(self.expr(cond, state), then, orelse, state, frame)
            case Loop(body, step):
                self.loop(body, step, state, frame)
            case Break():
                frame.breaks[-1].append(State(state.env, state.live, state.ctrl))
                state.live = 0
            case Continue():
                frame.continues[-1].append(State(state.env, state.live, state.ctrl))
                state.live = 0
            case Return(values):
                results = [self.expr(value, state) for value in values]
                frame.returns.append((State(state.env, state.live, state.ctrl), results))
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
        if type(taken) is int:
            if cond[1]:  # a constant by folding still is a condition that was computed
                self._one_side(then if taken else orelse, cond[1], state, frame)
            else:
                self.block(then if taken else orelse, state, frame)
            return
        ctrl = merge_taints(state.ctrl, taint_under(cond[1], state.live))
        yes = State(dict(state.env), both(state.live, taken), ctrl)
        no = State(dict(state.env), both(state.live, negate(taken)), ctrl)
        yes_alive, no_alive = yes.live, no.live
        self.block(then, yes, frame)
        self.block(orelse, no, frame)
        if yes.live == yes_alive and no.live == no_alive:  # nobody left
            state.env = _meet_env(taken, yes.env, no.env)
            return
        state.ctrl = merge_taints(ctrl, yes.ctrl, no.ctrl)
        if yes.live == 0 or no.live == 0:
            state.env = no.env if yes.live == 0 else yes.env
        else:
            state.env = _meet_env(yes.live, yes.env, no.env)
        state.live = either(yes.live, no.live)

    def _one_side(
        self, body: tuple[Stmt, ...], taint: Taint, state: State, frame: Frame
    ) -> None:
        before, alive = state.ctrl, state.live
        state.ctrl = merge_taints(before, taint_under(taint, alive))
        self.block(body, state, frame)
        if state.live == alive:
            state.ctrl = before

    def loop(
        self, body: tuple[Stmt, ...], step: tuple[Stmt, ...], state: State, frame: Frame
    ) -> None:
        live, ctrl, n_returns = state.live, state.ctrl, len(frame.returns)
        left: list[State] = []
        for _ in range(self.max_unroll):
            frame.breaks.append([])
            frame.continues.append([])
            self.block(body, state, frame)
            left += frame.breaks.pop()
            _join(state, frame.continues.pop())
            if state.live == 0:
                break
            self.block(step, state, frame)
        else:
            self.graph.cuts.append((state.live, self.unit))
            state.live = 0
        _join(state, left)
        if state.live != 0 and len(frame.returns) == n_returns:
            state.live, state.ctrl = live, ctrl

    # -- expressions --------------------------------------------------------------

    def expr(self, expr: Expr, state: State) -> tuple[Value, Taint]:
        """The value and what it depends on."""
        match expr:
            case Const(value):
                return value, NO_TAINT
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


def unroll(program: Program, max_unroll: int = 16) -> Graph:
    """All events of ``program``.

    Raises
    ------
    LimitError : the graph grows too large
    UnsupportedError : a build parameter was left without a value
    """
    return Unroller(program, max_unroll).run()


def _meet(guard: Guard, a: tuple[Value, Taint], b: tuple[Value, Taint]) -> tuple[Value, Taint]:
    if a == b:
        return a
    taint = merge_taints(taint_under(a[1], guard), taint_under(b[1], negate(guard)))
    return phi(guard, a[0], b[0]), taint


def _meet_env(guard: Guard, a: Env, b: Env) -> Env:
    zero: tuple[Value, Taint] = (0, NO_TAINT)
    return {
        name: _meet(guard, a.get(name, zero), b.get(name, zero))
        for name in (a if a.keys() >= b.keys() else a | b)
    }


def _join(state: State, others: list[State]) -> None:
    """Let the paths ``others`` flow into ``state``."""
    for other in others:
        if state.live == 0:
            state.env, state.live, state.ctrl = other.env, other.live, other.ctrl
        else:
            state.env = _meet_env(other.live, other.env, state.env)
            state.live = either(other.live, state.live)
            state.ctrl = merge_taints(other.ctrl, state.ctrl)


def _first_free(program: Program) -> int:
    used = [*program.init, *program.symbols.values(), 1 << 62]
    return max(used) + 1
