"""A program with its loops written out: what is left has no loop, no call and no wait.

What an engine makes of the result needs no notion of rounds that wait. It is exact for
executions that stay in no loop longer; the others are there as far as they come:

* A loop becomes so many copies of its body, one after another. Who has not left it then, is
  *cut*: the local ``CUT`` holds the number of the copied loop, and the thread does nothing
  more. ``SAME`` holds whether the last round left every local that a round takes over as
  it was.
* ``spin_lock`` becomes ``spin_trylock``, whose events are the same where it succeeds. Where it
  fails it finds the lock held: the thread stops there. Reader-writer locks and mutexes become
  the read-modify-writes that they are.
* Before a grace period a thread may stop. It does so where it finds a word of its own set,
  which a thread put there for that sets at some time; nothing depends on it.
* A thread that stopped leaves the read-side sections that it is in: what it might have done
  after comes later still.

Calls are put in the place of themselves. No jump is added, so control dependencies are as they
were. A thread does what is behind a loop under a condition on ``CUT``, which no read is behind.

Known limits: ``continue`` ends the control dependency that it makes with its round; callbacks
of ``call_rcu`` are left as they are and must have no loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from campaign.stopping import (
    AT_GRACE,
    AT_LOCK,
    AT_SRCU,
    CHOICES,
    COOKIES,
    CUT,
    RCU_DEPTH,
    SAME,
    SRCU_DEPTH,
    STRUCT,
    Body,
    close_rcu,
    close_srcu,
    count,
    enter_srcu,
    going_on,
    leave_srcu,
    saved,
)
from mkold.ir.edit import map_expressions
from mkold.ir.flow import taken_over
from mkold.ir.meaning import expanded
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
    If,
    Local,
    Loop,
    Op,
    Return,
    Stmt,
    map_parts,
    walk,
)
from mkold.ir.prims import PRIMS, Shape, When
from mkold.ir.program import Extent, Program, Reg, Thread

COUNTED = 3  # rounds of a loop over two numbers, until it is left
# What waits, and what does the same without waiting, where it can.
TRIES = {
    "spin_lock": "spin_trylock",
    "read_lock": "atomic64_add_unless_acquire",
    "write_lock": "try_cmpxchg_acquire",
    "mutex_lock": "try_cmpxchg_acquire",
}
# Flags that are told otherwise where a wait was replaced.
OTHERWISE = frozenset({"sleep-in-atomic", "hang"})


@dataclass(slots=True)
class WrittenOut:
    """``program``; ``last``: for each operation, by its id, the copied loops whose last round
    it is in; ``n_choices``: grace periods before which a thread may stop."""

    program: Program
    last: dict[int, tuple[int, ...]]
    n_choices: int
    untold: frozenset[str]
    kept: list[Op] = field(default_factory=list)  # so that ids stay theirs


def written_out(program: Program, rounds: int) -> WrittenOut:
    """``program`` with ``rounds`` rounds of each loop."""
    program = expanded(program)
    writer = _Writer(program, rounds)
    functions = {f.name: f for f in map(writer.thread, range(len(program.threads)))}
    threads = [Thread(t.name, f"{i}:{t.function}") for i, t in enumerate(program.threads)]
    later = {name: program.functions[name] for name in writer.callbacks}
    if writer.n_choices:
        sets = tuple(Op("WRITE_ONCE", (), (Const(CHOICES + i), Const(1)))
                     for i in range(writer.n_choices))  # fmt: skip
        functions["choices"] = Function("choices", (), (*sets, Return()))
        threads.append(Thread("choices", "choices"))
    n = writer.n_choices
    own = [Reg(i, name) for i in range(len(program.threads)) for name in (CUT, SAME)]
    made = replace(
        program,
        functions={**functions, **later},
        threads=tuple(threads),
        observed=(*program.observed, *own),
        condition=None,
        objects=None if program.objects is None else (
            *program.objects, *(Extent(CHOICES + i, 1) for i in range(n))),
        words=None if program.words is None else program.words.union(
            range(CHOICES, CHOICES + n)),
    )  # fmt: skip
    return WrittenOut(
        made, writer.last, writer.n_choices, frozenset(writer.untold), writer.kept
    )


@dataclass(slots=True)
class _Place:
    """Where a statement stands: how its function's locals are called, where ``return`` goes,
    what a ``break`` without a label means, and in which last rounds it is."""

    prefix: str = ""
    end: str = ""
    dsts: tuple[str, ...] = ()
    breaks: tuple[str, str] = ("", "")  # of a break and of a continue without a label
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)
    last: tuple[int, ...] = ()

    def name(self, local: str) -> str:
        return self.prefix + local

    def expr(self, expr: Expr) -> Expr:
        if not self.prefix:
            return expr
        return map_parts(
            expr, lambda part: Local(self.name(part.name)) if isinstance(part, Local) else None
        )


class _Writer:
    """Writes threads; ``stops`` says of the statement just written that it may stop there."""

    def __init__(self, program: Program, rounds: int) -> None:
        self.program, self.rounds = program, rounds
        self.last: dict[int, tuple[int, ...]] = {}
        self.kept: list[Op] = []
        self.callbacks: set[str] = set()
        self.untold = set(OTHERWISE)
        self.n_choices = self.n_loops = self.n_labels = 0
        self.stops = False
        ops = [stmt.prim for function in program.functions.values()
               for stmt in walk(function.body) if isinstance(stmt, Op)]  # fmt: skip
        held = {row.holds.sort for prim in ops if (row := PRIMS[prim]).holds}
        self.may_wait = {PRIMS[prim].awaits for prim in ops} & held  # grace periods

    def thread(self, number: int) -> Function:
        thread = self.program.threads[number]
        function = self.program.functions[thread.function]
        self.n_labels += 1
        place = _Place(end=f"$end{self.n_labels}")
        own = ((name, 0) for name in (CUT, SAME, RCU_DEPTH, SRCU_DEPTH, STRUCT, *COOKIES))
        starts = [*zip(function.params, thread.args, strict=True), *own]
        body = (
            *(Assign(name, Const(word)) for name, word in starts),
            Block(place.end, self.body(function.body, place)),
            *close_rcu(),
            *self.close_srcu,
            Return(),
        )
        self.close_srcu = ()
        return replace(function, name=f"{number}:{thread.function}", params=(), body=body,
                       n_results=0)  # fmt: skip

    close_srcu: Body = ()

    # -- statements ---------------------------------------------------------------

    def body(self, body: Body, place: _Place) -> Body:
        """The statements; those behind one that may stop, under a condition."""
        out: list[Stmt] = []
        stopped = False
        for i, stmt in enumerate(body):
            self.stops = False
            out += self.statement(stmt, place)
            if self.stops:
                stopped = True
                rest = self.body(body[i + 1 :], place)
                if rest:
                    out.append(going_on(rest))
                break
        self.stops = stopped
        return tuple(out)

    def statement(self, stmt: Stmt, place: _Place) -> Body:
        match stmt:
            case Op():
                return self.op(stmt, place)
            case Call(function, dsts, args):
                return self.call(function, dsts, args, place)
            case If(cond, then, orelse):
                yes = self.body(then, place)
                stops = self.stops
                no = self.body(orelse, place)
                self.stops |= stops
                return (If(place.expr(cond), yes, no),)
            case Block(label, body):
                inner = replace(place, labels={**place.labels, label: (label, "")})
                return (replace(stmt, body=self.body(body, inner)),)
            case Loop():
                return self.loop(stmt, place)
            case Break(label=label):
                return (Break(label=place.labels[label][0] if label else place.breaks[0]),)
            case Continue(label=label):
                return (Break(label=place.labels[label][1] if label else place.breaks[1]),)
            case Return(values):
                pairs = zip(place.dsts, values, strict=False)
                given = tuple(Assign(dst, place.expr(value)) for dst, value in pairs)
                return (*given, Break(label=place.end))
            case Assign(dst, value):
                return (Assign(place.name(dst), place.expr(value)),)
            case CallRcu(function):
                self.callbacks.add(function)
                return map_expressions((stmt,), place.expr)
            case _:
                raise AssertionError(f"{stmt} stands for others")

    def call(
        self, name: str, dsts: tuple[str, ...], args: tuple[Expr, ...], place: _Place
    ) -> Body:
        function = self.program.functions[name]
        self.n_labels += 1
        end = f"$end{self.n_labels}"
        inner = _Place(f"{end}.", end, tuple(map(place.name, dsts)), last=place.last)
        given = tuple(Assign(inner.name(param), place.expr(arg))
                      for param, arg in zip(function.params, args, strict=True))  # fmt: skip
        return (*given, Block(end, self.body(function.body, inner)))

    # -- loops --------------------------------------------------------------------

    def loop(self, loop: Loop, place: _Place) -> Body:
        self.n_loops += 1
        self.n_labels += 1
        number, left = self.n_loops, f"$left{self.n_labels}"
        counted = bool(loop.step)
        n = max(self.rounds, COUNTED) if counted else self.rounds
        carried = sorted(map(place.name, taken_over(loop)))
        cut = self.cut(number, carried)
        body: Body = cut
        for turn in reversed(range(n)):
            body = self.round(loop, place, left, number if turn == n - 1 else 0, carried, body)
        self.stops = True
        return (Block(left, body),)

    def round(
        self, loop: Loop, place: _Place, left: str, number: int, carried: list[str], then: Body
    ) -> Body:
        """One round, and what comes ``then``; ``number``: of the loop, if it is the last."""
        self.n_labels += 1
        on = f"$on{self.n_labels}"
        inner = replace(
            place,
            breaks=(left, on),
            labels={**place.labels, **({loop.label: (left, on)} if loop.label else {})},
            last=(*place.last, number) if number else place.last,
        )
        save = tuple(Assign(saved(number, name), Local(name)) for name in carried if number)
        self.stops = False
        body = self.body(loop.body, inner)
        if any(isinstance(stmt, Continue) for stmt in walk(loop.body)):
            body = (Block(on, body),)
        stops = self.stops
        step = self.body(loop.step, inner)
        rest = (*step, *then)
        return (*save, *body, *((going_on(rest),) if stops else rest))

    def cut(self, number: int, carried: list[str]) -> Body:
        same: Expr = Const(1)
        for name in carried:
            same = Binary("and", same, Binary("eq", Local(name), Local(saved(number, name))))
        return Assign(SAME, same), Assign(CUT, Const(number))

    # -- primitives ---------------------------------------------------------------

    def op(self, op: Op, place: _Place) -> Body:
        made = replace(op, dsts=tuple(map(place.name, op.dsts)),
                       args=tuple(map(place.expr, op.args)))  # fmt: skip
        row = PRIMS[op.prim]
        if row.waits:
            return self.take(made, place)
        if row.awaits in self.may_wait:
            return self.wait(made, place)
        if row.op == "rcu-lock":
            return self.keep(made, place), count(RCU_DEPTH, 1)
        if row.op == "rcu-unlock":
            return self.keep(made, place), count(RCU_DEPTH, -1)
        if row.shape is Shape.SRCU_LOCK:
            self.close_srcu = close_srcu()
            return self.keep(made, place), *enter_srcu(made.args[0], made.dsts[0])
        if row.shape is Shape.SRCU_UNLOCK:
            return self.keep(made, place), *leave_srcu()
        return (self.keep(made, place),)

    def keep(self, op: Op, place: _Place) -> Op:
        """``op``, an object of its own, with where it stands."""
        made = replace(op)
        self.kept.append(made)
        self.last[id(made)] = place.last
        return made

    def take(self, op: Op, place: _Place) -> Body:
        """Take a lock, or stop."""
        self.n_labels += 1
        done, row = f"$done{self.n_labels}", PRIMS[op.prim]
        tries = TRIES[op.prim]
        values = ()
        if op.prim != "spin_lock":
            self.untold.add("unmatched-unlock")
            if row.when is When.EQUAL:
                values = (Const(row.against or 0), Const(row.operand or 0))
            else:
                values = (Const(row.operand or 0), Const(row.against or 0))
        dsts = (done, f"{done}.old")[: PRIMS[tries].n_dsts]
        made = self.keep(replace(op, prim=tries, dsts=dsts, args=(*op.args, *values)), place)
        self.stops = True
        return made, If(Local(done), (), (Assign(CUT, Const(AT_LOCK)),))

    def wait(self, op: Op, place: _Place) -> Body:
        """Wait for a grace period, or stop."""
        at = Const(CHOICES + self.n_choices)
        self.n_choices += 1
        chosen = f"$choice{self.n_choices}"
        kind = AT_GRACE if PRIMS[op.prim].awaits == "rcu" else AT_SRCU
        self.stops = True
        return (
            self.keep(Op("READ_ONCE", (chosen,), (at,)), replace(place, last=())),
            If(Local(chosen), (Assign(CUT, Const(kind)),), (self.keep(op, place),)),
        )
