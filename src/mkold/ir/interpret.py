"""Runs the intermediate form alone, one thread, in plain Python.

What it models: one CPU, no concurrency, so every ordering is the program's own. It is
the oracle the native code is tested against, and it builds the initial memory of
programs for the model engine.

Known limits: taking a held lock is an error (nobody else could release it); ``call_rcu``
runs its function at once, as no reader can be under way.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from mkold.base.errors import MkoldError, Pos
from mkold.ir import access
from mkold.ir.algebra import WORDS
from mkold.ir.meaning import meaning
from mkold.ir.nodes import (
    WORD_MASK,
    Assign,
    Binary,
    Block,
    Break,
    Call,
    CallPtr,
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
    Return,
    Select,
    Stmt,
    Unary,
    evaluate_binary,
    evaluate_unary,
)
from mkold.ir.prims import PRIMS, Prim, Shape
from mkold.ir.prims.locks import LOCKED, UNLOCKED


class InterpretError(MkoldError):
    """The code did what one CPU alone can't survive (BUG_ON, a held lock, no end)."""

    def __init__(self, reason: str, at: Pos | None) -> None:
        super().__init__(reason, at)
        self.reason, self.at = reason, at

    def __str__(self) -> str:
        return f"{self.at}: {self.reason}" if self.at else self.reason


class _Left(Exception):  # noqa: N818 - a jump, not an error
    """A jump out of the statements being run."""


class _Break(_Left):
    def __init__(self, label: str) -> None:
        self.label = label


class _Continue(_Left):
    def __init__(self, label: str) -> None:
        self.label = label


class _Return(_Left):
    def __init__(self, values: tuple[int, ...]) -> None:
        self.values = values


def evaluate(expr: Expr, env: Mapping[str, int]) -> int:
    """The word that ``expr`` gives when its locals have the values in ``env``."""
    match expr:
        case Const(value):
            return value
        case Local(name):
            return env[name]
        case FunctionWord():
            return expr.word
        case Binary(op, a, b):
            return evaluate_binary(op, evaluate(a, env), evaluate(b, env))
        case Unary(op, a):
            return evaluate_unary(op, evaluate(a, env))
        case Select(cond, a, b):
            return evaluate(a if evaluate(cond, env) else b, env)
        case _:
            raise MkoldError(f"build parameter {expr.name} is not bound")


class Interpreter:
    """Runs ``functions`` on ``memory``.

    Parameters
    ----------
    functions : closed under calls, build parameters bound
    memory : word address -> word; an address not in it reads as 0
    cpu : what ``smp_processor_id()`` gives
    max_steps : statements to run before giving up
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        memory: MutableMapping[int, int],
        *,
        cpu: int = 0,
        max_steps: int = 10_000_000,
    ) -> None:
        self.functions = functions
        self.memory = memory
        self.cpu = cpu
        self.steps_left = max_steps

    def call(self, name: str, *args: int) -> tuple[int, ...]:
        """Run one function and return its results.

        Raises
        ------
        InterpretError : BUG_ON, a lock that can't be taken, too many steps or calls
        """
        function = self.functions[name]
        env = dict(zip(function.params, (a & WORD_MASK for a in args), strict=True))
        try:
            self._block(function.body, env)
        except _Return as result:
            return result.values
        except RecursionError:
            raise InterpretError("calls too deep for this interpreter", function.at) from None
        return ()

    def _block(self, body: tuple[Stmt, ...], env: dict[str, int]) -> None:
        for stmt in body:
            self._stmt(stmt, env)

    def _stmt(self, stmt: Stmt, env: dict[str, int]) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise InterpretError("no end within the step limit", stmt.at)
        match stmt:
            case Assign(dst, value):
                env[dst] = evaluate(value, env)
            case Op(prim, dsts) if PRIMS[prim].meaning is None:
                env.update(zip(dsts, self._op(stmt, env), strict=False))
            case Call(function, dsts, args):
                got = self.call(function, *(evaluate(a, env) for a in args))
                env.update(zip(dsts, got, strict=False))
            case CallPtr() | Op():
                self._block(meaning(stmt) or (), env)
            case CallRcu(function, argument):
                self.call(function, evaluate(argument, env))
            case If(cond, then, orelse):
                self._block(then if evaluate(cond, env) else orelse, env)
            case Block(label, body):
                try:
                    self._block(body, env)
                except _Break as jump:
                    if jump.label != label:
                        raise
            case Loop():
                self._loop(stmt, env)
            case Break(label=label):
                raise _Break(label)
            case Continue(label=label):
                raise _Continue(label)
            case Return(values):
                raise _Return(tuple(evaluate(v, env) for v in values))

    def _loop(self, loop: Loop, env: dict[str, int]) -> None:
        mine = ("", loop.label)
        while True:
            try:
                self.steps_left -= 1
                if self.steps_left < 0:
                    raise InterpretError("no end within the step limit", loop.at)
                self._block(loop.body, env)
            except _Break as jump:
                if jump.label not in mine:
                    raise
                return
            except _Continue as jump:
                if jump.label not in mine:
                    raise
            self._block(loop.step, env)

    def _op(self, op: Op, env: dict[str, int]) -> tuple[int, ...]:
        row, args = PRIMS[op.prim], [evaluate(arg, env) for arg in op.args]
        match row.shape:
            case Shape.LOAD:
                return (access.loaded(WORDS, self._get(args[0]), op),)
            case Shape.STORE:
                self._store(row, op, args)
            case Shape.RMW:
                return self._update(row, op, args)
            case Shape.POISON:
                assert row.operand is not None
                self.memory.update(dict.fromkeys(range(args[0], sum(args)), row.operand))
            case Shape.LOAD_WHICH:
                words = (self._get(args[0] + i) for i in range(args[1]))
                return (sum((word & args[2] != 0) << i for i, word in enumerate(words)),)
            case Shape.LOCK | Shape.TRYLOCK | Shape.UNLOCK | Shape.IS_LOCKED:
                return self._lock(row, args[0], op.at)
            case Shape.SRCU_LOCK:
                return (0,)
            case Shape.FENCE | Shape.SRCU_UNLOCK | Shape.SYNC_SRCU:
                pass
            case Shape.CPU_RELAX | Shape.PREFETCH:
                pass
            case _:
                return self._other(row, args, op.at)
        return ()

    def _other(self, row: Prim, args: list[int], at: Pos | None) -> tuple[int, ...]:
        match row.shape:
            case Shape.BUG_ON:
                if args[0]:
                    raise InterpretError(row.name, at)
                return ()
            case Shape.BAD_CALL:
                raise InterpretError(f"calls {args[0]:#x}, which is no function here", at)
            case Shape.WARN_ON:
                return (int(args[0] != 0),)
            case Shape.CPU_ID:
                return (self.cpu,)
            case Shape.CYCLES:
                return (0,)
            case _:
                raise AssertionError(f"the interpreter does not know {row.name}")

    def _store(self, row: Prim, op: Op, args: list[int]) -> None:
        value = access.stored(WORDS, row, op, args)
        if op.shift is not None:
            value = access.merged(WORDS, self._get(args[0]), value, op)
        self.memory[args[0]] = value

    def _update(self, row: Prim, op: Op, args: list[int]) -> tuple[int, ...]:
        address = access.address(WORDS, row, args)
        update = access.update(WORDS, row, op, args)
        old = access.found(WORDS, self._get(address), op)
        done = update.done(old)
        if done != 0:
            self.memory[address] = update.new(old)
        elif row.waits:
            raise InterpretError("takes a lock that is held", op.at)
        return update.results(old, done)

    def _lock(self, row: Prim, lock: int, at: Pos | None) -> tuple[int, ...]:
        free = self._get(lock) == UNLOCKED
        match row.shape:
            case Shape.IS_LOCKED:
                return (int(not free),)
            case Shape.UNLOCK:
                self.memory[lock] = UNLOCKED
                return ()
            case _:
                if row.waits and not free:
                    raise InterpretError("takes a lock that is held", at)
                self.memory[lock] = LOCKED
                return (int(free),)[: row.n_dsts]

    def _get(self, address: int) -> int:
        return self.memory.get(address, 0)
