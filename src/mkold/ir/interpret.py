"""Runs the intermediate form alone, one thread, in plain Python.

What it models: one CPU, no concurrency, so every ordering is the program's own. It is
the oracle the native code is tested against, and it builds the initial memory of
programs for the model engine.

Known limits: a lock is one word, 1 while held, and taking a held lock is an error
(nobody else could release it); ``call_rcu`` runs its function at once, as no reader can
be under way.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from mkold.base.errors import MkoldError, Pos
from mkold.ir.meaning import meaning
from mkold.ir.nodes import (
    WORD_BITS,
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
from mkold.ir.program import POISON

_WRITER = WORD_MASK  # a write-locked rwlock word


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
        InterpretError : BUG_ON, a lock that can't be taken, or too many steps
        """
        function = self.functions[name]
        env = dict(zip(function.params, (a & WORD_MASK for a in args), strict=True))
        try:
            self._block(function.body, env)
        except _Return as result:
            return result.values
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
            case Op(prim, dsts, args):
                words = [evaluate(a, env) for a in args]
                results = self._op(PRIMS[prim], words, stmt.at)
                env.update(zip(dsts, results, strict=False))
            case Call(function, dsts, args):
                got = self.call(function, *(evaluate(a, env) for a in args))
                env.update(zip(dsts, got, strict=False))
            case CallPtr():
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

    def _op(self, row: Prim, args: list[int], at: Pos | None) -> tuple[int, ...]:
        match row.shape:
            case Shape.LOAD:
                return (self._get(args[0]),)
            case Shape.STORE | Shape.STORE_MB:
                self.memory[args[0]] = args[1]
            case Shape.POISON:
                self.memory.update((args[0] + i, POISON) for i in range(args[1]))
            case Shape.LOAD_ANY:
                any_set = 0
                for i in range(args[1]):
                    any_set |= self._get(args[0] + i)
                return (any_set & args[2],)
            case Shape.BUG_ON:
                if args[0]:
                    raise InterpretError("BUG_ON", at)
            case Shape.BAD_CALL:
                raise InterpretError(f"calls {args[0]:#x}, which is no function here", at)
            case Shape.WARN_ON:
                return (args[0],)
            case Shape.CPU_ID:
                return (self.cpu,)
            case Shape.CYCLES:
                return (0,)
            case Shape.SRCU_LOCK:
                return (0,)
            case Shape.XCHG | Shape.CMPXCHG | Shape.TRY_CMPXCHG | Shape.FETCH | Shape.UNLESS:
                old = self._get(args[0])
                new, results = rmw(row, old, args[1:])
                if new is not None:
                    self.memory[args[0]] = new
                return results
            case _:
                return self._lock(row, args, at)
        return ()

    def _lock(self, row: Prim, args: list[int], at: Pos | None) -> tuple[int, ...]:
        word = self._get(args[0]) if args else 0
        match row.shape:
            case Shape.IS_LOCKED:
                return (int(word != 0),)
            case Shape.TRYLOCK:
                self.memory[args[0]] = 1
                return (int(word == 0),)
            case Shape.LOCK | Shape.WRITE_LOCK | Shape.READ_LOCK:
                free = word != _WRITER if row.shape is Shape.READ_LOCK else word == 0
                if not free:
                    raise InterpretError("takes a lock that is held", at)
                taken = {Shape.LOCK: 1, Shape.WRITE_LOCK: _WRITER}
                self.memory[args[0]] = taken.get(row.shape, word + 1)
            case Shape.UNLOCK | Shape.WRITE_UNLOCK:
                self.memory[args[0]] = 0
            case Shape.READ_UNLOCK:
                self.memory[args[0]] = word - 1
            case _:
                pass
        return (0,) * row.n_dsts

    def _get(self, address: int) -> int:
        return self.memory.get(address, 0)


def rmw(row: Prim, old: int, args: list[int]) -> tuple[int | None, tuple[int, ...]]:
    """What a read-modify-write stores (None: nothing, it failed) and what it returns.

    The one definition of these rows' arithmetic: ``old`` is the word read, ``args``
    follow the address.
    """
    match row.shape:
        case Shape.XCHG:
            return args[0], (old,)
        case Shape.CMPXCHG:
            return (args[1] if old == args[0] else None), (old,)
        case Shape.TRY_CMPXCHG:
            return (args[1] if old == args[0] else None), (int(old == args[0]), old)
        case Shape.UNLESS:
            done = old != args[1]
            new = (old + args[0]) & WORD_MASK if done else None
            return new, ((int(done),) if row.result == "ok" else (old,))
        case _:
            return _fetch(row, old, args)


def _fetch(row: Prim, old: int, args: list[int]) -> tuple[int, tuple[int, ...]]:
    if row.operand == "one":
        value = 1
    else:
        value = args[0] if row.operand == "arg" else 1 << args[0] % WORD_BITS
    if row.op == "andnot":
        new = old & ~value & WORD_MASK
    else:
        new = evaluate_binary(row.op, old, value)
    results = {
        "": (),
        "old": (old,),
        "new": (new,),
        "zero": (int(new == 0),),
        "negative": (new >> WORD_BITS - 1,),
        "bit": (int(old & value != 0),),
    }
    return new, results[row.result]
