"""Any row of the table of primitives, through every reading, by what its columns say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from mkold.ir.boot import BOOT_WORDS
from mkold.ir.definition import Definition
from mkold.ir.interpret import Interpreter, InterpretError
from mkold.ir.layout import Layout
from mkold.ir.nodes import (
    POISON_INUSE,
    Binary,
    Const,
    Expr,
    Function,
    If,
    Local,
    Op,
    Return,
    Stmt,
    callees,
    walk,
)
from mkold.ir.prims import PRIMS, VAL, Gives, Prim, Shape, Takes
from mkold.ir.program import POISON, Mem, Program, Reg, Thread
from mkold.ir.variant import Split, apply
from mkold.ir.verify import verify_function
from mkold.lkmm import Status, decide
from mkold.lkmm.engines import ENGINES
from mkold.native import Image, KernelBugError, Memory, build

AT, N_WORDS = BOOT_WORDS, 3
ROOM = 1024  # behind AT, for a struct of a primitive's own
A_AT, B_AT = AT + ROOM, AT + ROOM + 1
P, A, B = Local("p"), Local("a"), Local("b")
_FLAGS = {
    "BUG_ON": "bug-on", "bad call": "bad-call", "division_by_zero": "division-by-zero",
}  # fmt: skip
_ARGUMENTS: dict[Takes, Expr] = {
    Takes.PLACE: P,
    Takes.STRUCT: P,
    Takes.OPERAND: A,
    Takes.AGAINST: B,
    Takes.BIT: A,
    Takes.COUNT: Const(N_WORDS),
    Takes.MASK: B,
    Takes.COOKIE: Local("r0"),
    Takes.CONDITION: A,
    Takes.OVER_VAL: Binary("ule", Local(VAL), Const((1 << 64) - 1)),
    Takes.WORD: A,
}


# What begins the thing that a row ends; of several, the first of the table.
BEGINS = {row.ends: row for row in reversed(PRIMS.values()) if row.ends}


@dataclass(frozen=True, slots=True)
class Use:
    """A row used on an object of some width; what it takes it leaves again."""

    row: Prim
    width: int = 64
    shift: int | None = None

    @property
    def name(self) -> str:
        return f"{self.row.name}.{self.width}.{'own' if self.shift is None else self.shift}"

    @property
    def first(self) -> Prim:
        """The row itself, or the one that begins what the row ends."""
        return BEGINS.get(self.row.name, self.row)

    @property
    def dsts(self) -> tuple[str, ...]:
        return tuple(f"r{i}" for i in range(self.first.n_dsts))

    def body(self) -> tuple[Stmt, ...]:
        taken: Stmt = self._op(self.first, self.dsts)
        if not self.first.ends:
            return (taken,)
        left: Stmt = self._op(PRIMS[self.first.ends], ())
        if Gives.DONE in self.first.gives:
            left = If(Local("r0"), (left,))
        return taken, left

    def _op(self, row: Prim, dsts: tuple[str, ...]) -> Op:
        args = tuple(_ARGUMENTS[takes] for takes in row.takes)
        return Op(row.name, dsts, args, "place", None, self.width, self.shift)

    def function(self) -> Function:
        body = (*self.body(), Return(tuple(map(Local, self.dsts))))
        return Function(self.name, ("p", "a", "b"), body, len(self.dsts))


def uses(row: Prim) -> list[Use]:
    """Every width of object, and some parts of words, that the row is for."""
    objects = [(64, None), (32, None), (16, None), (8, None), (8, 24), (16, 48), (32, 0)]
    return [use for use in (Use(row, *one) for one in objects) if _fits(use)]


def _fits(use: Use) -> bool:
    try:
        verify_function(use.function(), {})
    except AssertionError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Given:
    """What a use is run on: words from the place on, and the values of its arguments."""

    old: tuple[int, ...]
    a: int
    b: int

    def memory(self) -> dict[int, int]:
        return {AT + i: word for i, word in enumerate(self.old)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results and memory, or what ended the run."""

    flag: str = ""
    results: tuple[int, ...] = ()
    words: tuple[int, ...] = ()


def _outcome(use: Use, results: Iterable[int], words: Iterable[int], flag: str = "") -> Outcome:
    """Of a clock only that it is there; of a struct of the primitive's own, nothing."""
    is_clock = use.row.shape is Shape.CYCLES
    if use.row.shape is Shape.POISON:  # one and the same natively
        words = (POISON if word == POISON_INUSE else word for word in words)
    on_words = Takes.PLACE in use.row.takes
    return Outcome(flag, () if is_clock else tuple(results), tuple(words) if on_words else ())


def interpreted(use: Use, given: Given, function: Function | None = None) -> Outcome:
    """By the interpreter."""
    memory = given.memory()
    functions = {use.name: function or use.function()}
    try:
        results = Interpreter(functions, memory).call(use.name, AT, given.a, given.b)
    except InterpretError as error:
        return Outcome(_FLAGS.get(error.reason, "bad-call"))
    warned = use.row.shape is Shape.WARN_ON and given.a != 0
    words = (memory.get(AT + i, 0) for i in range(N_WORDS))
    return _outcome(use, results, words, "warn-on" if warned else "")


def split(use: Use, given: Given) -> Outcome | None:
    """By the interpreter, in two halves; ``None``: it has none."""
    if use.row.shape is not Shape.RMW or use.row.native:
        return None
    halves = apply({use.name: use.function()}, {}, (Split(f"{use.name}:{use.row.name}"),))
    return interpreted(use, given, halves[use.name])


def definition(function: Function, others: Mapping[str, Function]) -> Definition:
    """A function with no front end, and those of ``others`` that it calls."""
    called = {name for stmt in walk(function.body) for name in callees(stmt)}
    return _Definition(function, {name: definition(others[name], others) for name in called})


@dataclass(frozen=True, slots=True)
class _Definition:
    lowered: Function
    callees: Mapping[str, _Definition] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    layouts: tuple[Layout, ...] = ()
    pointed: tuple[str, ...] = ()
    called_through: tuple[str, ...] = ()
    signature: str = ""
    is_hook: bool = False

    @property
    def name(self) -> str:
        return self.lowered.name

    @property
    def key(self) -> str:
        return f"every_row:{self.name}"


class Machine:
    """Machine code of many uses."""

    def __init__(self, several: Iterable[Use], *, checked: bool) -> None:
        definitions = [definition(use.function(), {}) for use in several]
        # Checked or not, and optimised or not: a row means the same.
        self.image: Image = build(definitions, checked=checked, optimised=not checked)
        self.checked = checked

    def __call__(self, use: Use, given: Given) -> Outcome | None:
        """``None``: the checked build refuses to read what is there."""
        memory = Memory(B_AT + 64)
        for address, word in given.memory().items():
            memory.words[address] = word
        try:
            got = self.image.call(use.name, memory, 0, AT, given.a, given.b)
        except KernelBugError as error:
            kind = error.finding.site.kind
            return None if kind == "poison read" else Outcome(_FLAGS[kind])
        results = () if got is None else got if isinstance(got, tuple) else (got,)
        words = map(int, memory.words[AT : AT + N_WORDS])
        return _outcome(use, results, words, "warn-on" if self.image.warned(memory) else "")


def program(use: Use, given: Given, watched: Iterable[int]) -> Program:
    """The arguments are read from memory, so that the model can't fold them away."""
    entry = (
        Op("READ_ONCE", ("a",), (Const(A_AT),)),
        Op("READ_ONCE", ("b",), (Const(B_AT),)),
        *use.body(),
        Return(),
    )
    return Program(
        use.name,
        {"P0": Function("P0", ("p",), entry)},
        (Thread("P0", "P0", (AT,)),),
        init={**given.memory(), A_AT: given.a, B_AT: given.b},
        observed=(*(Reg(0, dst) for dst in use.dsts), *map(Mem, watched)),
    )


def by_engine(name: str, use: Use, given: Given) -> Outcome:
    """By the model."""
    made = program(use, given, range(AT, AT + N_WORDS))
    verdict = decide(made, engine=name)
    assert verdict.status is Status.OK
    flags = {*_FLAGS.values(), "warn-on"} & set(verdict.flags)
    return _only(use, verdict.states, flags)


def _only(use: Use, states: Collection[tuple[int, ...]], flags: set[str]) -> Outcome:
    assert len(states) == 1, "one thread alone has one outcome"
    (state,) = states
    n = len(use.dsts)
    flag = next(iter(flags), "")
    if flag in _FLAGS.values():
        return Outcome(flag)
    return _outcome(use, state[:n], state[n:], flag)


READINGS: dict[str, Callable[[Use, Given], Outcome]] = {
    name: partial(by_engine, name) for name in ENGINES
}
