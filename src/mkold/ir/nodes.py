"""Expressions, statements and functions of the intermediate form.

Rules
-----
* One value type: a 64-bit word. Arithmetic wraps. Signedness sits in the operator
  (``ult`` or ``slt``), never in the value. Truth is any non-zero word; comparisons and
  ``lnot`` give 0 or 1. Division by zero gives 0; a shift by 64 or more gives 0 (``ashr``:
  the sign).
* Memory is one flat array of words; a pointer is a word address, 0 is NULL.
* Expressions are pure: they read locals and constants only. Everything that touches
  memory, orders memory or may block is an ``Op`` statement naming a row of
  ``mkold.ir.prims``.
* Control flow is structured. ``Loop`` runs ``body`` then ``step`` for ever; ``Continue``
  jumps to ``step``, ``Break`` leaves. Without a label they mean the innermost loop; a
  label names any ``Block`` or ``Loop`` around them, so every reducible flow (C's ``goto``,
  ``switch``, ``do``) has a form without a statement written twice. A function ends in
  ``Return`` on every path that can end.
* A local is assigned before it is read on every path.
* Every node is an immutable value; passes build new ones.

Known limits: no recursion, one access size.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from mkold.base.errors import Pos

WORD_BITS = 64
WORD_MASK = (1 << WORD_BITS) - 1

# Narrow words live in the front ends, as 64-bit words: "u8" keeps the low 8 bits, "s8" keeps
# them and repeats their sign. Each by its width and whether it is signed.
NARROW = {"u8": (8, False), "u16": (16, False), "u32": (32, False),
          "s8": (8, True), "s16": (16, True), "s32": (32, True)}  # fmt: skip
UNARY = frozenset({"neg", "not", "lnot", *NARROW})
BINARY = frozenset(
    [
        "add",
        "sub",
        "mul",
        "udiv",
        "umod",
        "sdiv",
        "smod",
        "and",
        "or",
        "xor",
        "shl",
        "lshr",
        "ashr",
        "eq",
        "ne",
        "ult",
        "ule",
        "slt",
        "sle",
    ]
)


@dataclass(frozen=True, slots=True)
class Const:
    """A constant word, ``0 <= value < 2**64``. ``symbol`` is only for printing."""

    value: int
    symbol: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Param:
    """A build-time parameter (a table geometry, say); ``ir.edit.bind`` replaces it."""

    name: str


@dataclass(frozen=True, slots=True)
class Local:
    """The value of a local variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    """``op`` is one of ``UNARY``: -a, ~a, !a, (u8)a, (s8)a ..."""

    op: str
    a: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    """``op`` is one of ``BINARY``."""

    op: str
    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True)
class Select:
    """``a`` if ``cond`` is non-zero, else ``b``; no branch, so no control dependency."""

    cond: Expr
    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True)
class FunctionWord:
    """The word that stands for a function: what a pointer to it holds.

    ``name`` is the function's in its program; ``key`` its ``module:name``, from which the
    word is made (``name`` if empty), so that every build and reading has the same one.
    """

    name: str
    key: str = ""

    @property
    def word(self) -> int:
        """A hash of the key among words that are no address."""
        return _function_word(self.key or self.name)


Expr = Const | Param | Local | Unary | Binary | Select | FunctionWord


@dataclass(frozen=True, slots=True)
class Assign:
    """``dst = value``."""

    dst: str
    value: Expr
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Op:
    """One primitive of ``mkold.ir.prims``: ``dsts = prim(args)``.

    For a primitive on memory ``args[0]`` is the word address. ``what`` is the lvalue as
    the source wrote it (``kvm.radix``), for pictures.
    """

    prim: str
    dsts: tuple[str, ...] = ()
    args: tuple[Expr, ...] = ()
    what: str = field(default="", compare=False)
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """``dsts = function(args)``; ``dsts`` is empty or as long as the results."""

    function: str
    dsts: tuple[str, ...] = ()
    args: tuple[Expr, ...] = ()
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class CallPtr:
    """``dsts = (*target)(args)``: a call through a pointer.

    ``members`` are all the functions that the pointer may mean, known when a program is
    put together. A word that is none of theirs calls nothing: that is a bug, and every
    reading says so. ``what`` is the pointer as the source wrote it; ``signature`` the types
    of what it points to, by which ``ir.module`` finds the members.
    """

    target: Expr
    members: tuple[FunctionWord, ...] = ()
    dsts: tuple[str, ...] = ()
    args: tuple[Expr, ...] = ()
    what: str = field(default="", compare=False)
    at: Pos | None = field(default=None, compare=False)
    signature: str = ""


@dataclass(frozen=True, slots=True)
class CallRcu:
    """``call_rcu``: run ``function(argument)`` once a grace period has passed.

    ``function`` takes one word and returns nothing. Under LKMM it is a process of its
    own that starts after this statement and waits for a grace period first.
    """

    function: str
    argument: Expr
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class If:
    cond: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...] = ()
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Block:
    """``body``, which ``Break(label=label)`` leaves."""

    label: str
    body: tuple[Stmt, ...]
    at: Pos | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Loop:
    """``for (;;) { body; step; }``, left by ``Break`` or ``Return``; ``label`` if not empty."""

    body: tuple[Stmt, ...]
    step: tuple[Stmt, ...] = ()
    at: Pos | None = field(default=None, compare=False)
    label: str = ""


@dataclass(frozen=True, slots=True)
class Break:
    """Leave the block or loop called ``label``; the innermost loop if it is empty."""

    at: Pos | None = field(default=None, compare=False)
    label: str = ""


@dataclass(frozen=True, slots=True)
class Continue:
    """On to the step of the loop called ``label``; of the innermost loop if it is empty."""

    at: Pos | None = field(default=None, compare=False)
    label: str = ""


@dataclass(frozen=True, slots=True)
class Return:
    values: tuple[Expr, ...] = ()
    at: Pos | None = field(default=None, compare=False)


Stmt = Assign | Op | Call | CallPtr | CallRcu | If | Block | Loop | Break | Continue | Return


@dataclass(frozen=True, slots=True)
class Function:
    """One function.

    ``name`` is unique in its program (kernel Python: ``module.function`` only where two
    modules clash). ``types`` maps locals and parameters to the type text the source gave
    (``"Ptr[Kvm]"``), for people only. ``n_results`` words come back.
    """

    name: str
    params: tuple[str, ...]
    body: tuple[Stmt, ...]
    n_results: int = 0
    types: Mapping[str, str] = field(default_factory=dict, compare=False)
    doc: str = field(default="", compare=False)
    at: Pos | None = field(default=None, compare=False)


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement of ``body``, outer before inner, in source order."""
    for stmt in body:
        yield stmt
        match stmt:
            case If(then=then, orelse=orelse):
                yield from walk(then)
                yield from walk(orelse)
            case Block(body=inner):
                yield from walk(inner)
            case Loop(body=inner, step=step):
                yield from walk(inner)
                yield from walk(step)
            case _:
                pass


def callees(stmt: Stmt) -> tuple[str, ...]:
    """Names of the functions that ``stmt`` itself may call, now or after a grace period."""
    match stmt:
        case Call(function=function) | CallRcu(function=function):
            return (function,)
        case CallPtr(members=members):
            return tuple(member.name for member in members)
        case _:
            return ()


def parts(expr: Expr) -> Iterator[Expr]:
    """``expr`` and every expression in it, outer before inner."""
    yield expr
    match expr:
        case Unary(_, a):
            yield from parts(a)
        case Binary(_, a, b):
            yield from parts(a)
            yield from parts(b)
        case Select(c, a, b):
            for part in (c, a, b):
                yield from parts(part)
        case _:
            pass


def locals_of(expr: Expr) -> Iterator[str]:
    """Names of the locals that ``expr`` reads, with repeats."""
    return (part.name for part in parts(expr) if isinstance(part, Local))


@functools.cache
def _function_word(key: str) -> int:
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(b"\xf1" + digest[:7])


def evaluate_unary(op: str, a: int) -> int:
    """The one definition of unary arithmetic, on words."""
    return _UNARY[op](a) & WORD_MASK


def evaluate_binary(op: str, a: int, b: int) -> int:
    """The one definition of binary arithmetic, on words."""
    return _BINARY[op](a, b) & WORD_MASK


def _signed(a: int, width: int = WORD_BITS) -> int:
    return a - (1 << width) if a >> (width - 1) else a


def _narrow(width: int, *, signed: bool) -> Callable[[int], int]:
    mask = (1 << width) - 1
    return (lambda a: _signed(a & mask, width)) if signed else (lambda a: a & mask)


def _sdiv(a: int, b: int) -> int:
    x, y = _signed(a), _signed(b)
    if y == 0:
        return 0
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


def _smod(a: int, b: int) -> int:
    return 0 if b == 0 else _signed(a) - _signed(b) * _sdiv(a, b)


_UNARY: dict[str, Callable[[int], int]] = {
    "neg": lambda a: -a,
    "not": lambda a: ~a,
    "lnot": lambda a: int(a == 0),
    **{op: _narrow(width, signed=signed) for op, (width, signed) in NARROW.items()},
}
_BINARY: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "udiv": lambda a, b: a // b if b else 0,
    "umod": lambda a, b: a % b if b else 0,
    "sdiv": _sdiv,
    "smod": _smod,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b if b < WORD_BITS else 0,
    "lshr": lambda a, b: a >> b if b < WORD_BITS else 0,
    "ashr": lambda a, b: _signed(a) >> min(b, WORD_BITS - 1),
    "eq": lambda a, b: int(a == b),
    "ne": lambda a, b: int(a != b),
    "ult": lambda a, b: int(a < b),
    "ule": lambda a, b: int(a <= b),
    "slt": lambda a, b: int(_signed(a) < _signed(b)),
    "sle": lambda a, b: int(_signed(a) <= _signed(b)),
}
