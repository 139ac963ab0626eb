"""Labelled blocks and loops: interpreter, machine code and model take the same way."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mkold.ir.boot import BOOT_WORDS
from mkold.ir.interpret import Interpreter
from mkold.ir.nodes import (
    Assign,
    Binary,
    Block,
    Break,
    Call,
    Const,
    Continue,
    Function,
    If,
    Local,
    Loop,
    Op,
    Return,
    Stmt,
)
from mkold.ir.program import Mem, Program, Reg, Thread
from mkold.ir.text import function_text
from mkold.ir.verify import verify
from mkold.lkmm import Status, decide
from mkold.native import Memory
from mkold.native.image import Image

X, Y = 4096, 4097
ROUNDS = 3
R, A = Local("r"), Local("a")
Scopes = tuple[tuple[str, bool], ...]


def _mix(number: int) -> Stmt:
    """Leave a mark that tells this place and the way here from any other."""
    return Assign("r", Binary("add", Binary("mul", R, Const(31)), Const(number)))


def _loop(label: str, body: tuple[Stmt, ...], step: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    turns = Local(f"n{label}")
    begin = (
        Assign(turns.name, Binary("add", turns, Const(1))),
        If(Binary("ult", Const(ROUNDS), turns), (Break(),)),
    )
    return Assign(turns.name, Const(0)), Loop((*begin, *body), step, label=label)


@st.composite
def bodies(
    draw: st.DrawFn, scopes: Scopes = (), depth: int = 3, numbers: itertools.count | None = None
) -> tuple[Stmt, ...]:
    numbers = numbers or itertools.count(1)
    kinds = ["mix", "store", "if", "block", "loop"] if depth else ["mix", "store"]
    found: list[Stmt] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(kinds))
        number = next(numbers)
        inner = bodies(scopes, depth - 1, numbers) if depth else st.just(())
        if kind == "if":
            cond = Binary("and", Binary("lshr", A, Const(number % 3)), Const(1))
            found.append(If(cond, draw(inner), draw(inner) if draw(st.booleans()) else ()))
        elif kind == "block":
            label = f"L{number}"
            body = draw(bodies((*scopes, (label, False)), depth - 1, numbers))
            found.append(Block(label, body))
        elif kind == "loop":
            label = f"L{number}"
            body = draw(bodies((*scopes, (label, True)), depth - 1, numbers))
            found += _loop(label, body, (_mix(number),))
        elif kind == "store":
            found.append(Op("WRITE_ONCE", (), (Const(Y), R)))
        else:
            found.append(_mix(number))
    return (*found, *draw(st.sampled_from(_jumps(scopes))))


def _jumps(scopes: Scopes) -> list[tuple[Stmt, ...]]:
    jumps: list[tuple[Stmt, ...]] = [(), (Return((R,)),)]
    for label, is_loop in scopes:
        jumps.append((Break(label=label),))
        if is_loop:
            jumps += [(Continue(label=label),), (Break(),), (Continue(),)]
    return jumps


def _function(body: tuple[Stmt, ...]) -> Function:
    return Function("f", ("a",), (Assign("r", Const(1)), *body, Return((R,))), 1)


# A loop left from inside a block: behind the block nobody is who took that way.
LEFT = (*_loop("L1", (Block("L2", (If(A, (_mix(2), Break(label="L1"))),)),), (_mix(1),)),)


@pytest.mark.slow
@example(LEFT, 1)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies(), st.integers(1, 7))
def test_every_reading_takes_the_same_way(body: tuple[Stmt, ...], word: int) -> None:
    functions = {"f": _function(body)}
    verify(functions)
    results = []
    image, native = Image(functions, ["f"], checked=False), Memory(BOOT_WORDS + 8)
    for a in (0, word):
        memory = {Y: 0}
        results.append((Interpreter(functions, memory).call("f", a)[0], memory[Y]))
        native.words[Y] = 0
        assert (image.call("f", native, 0, a), int(native.words[Y])) == results[-1]
    verdict = decide(_raced(functions, word), states=True, max_unroll=ROUNDS + 2)
    assert verdict.status is Status.OK, function_text(functions["f"])
    assert set(verdict.states) == set(results)


def _raced(functions: dict[str, Function], word: int) -> Program:
    """``f`` of a word that another thread may store before: the branches are open."""
    reader = (Op("READ_ONCE", ("a",), (Const(X),)), Call("f", ("r",), (Local("a"),)), Return())
    writer = (Op("WRITE_ONCE", (), (Const(X), Const(word))), Return())
    entries = {"P0": Function("P0", (), reader), "P1": Function("P1", (), writer)}
    threads = (Thread("P0", "P0"), Thread("P1", "P1"))
    return Program("jumps", {**functions, **entries}, threads, observed=(Reg(0, "r"), Mem(Y)))


def _write(address: int) -> Op:
    return Op("WRITE_ONCE", (), (Const(address), Const(1)))


@pytest.mark.parametrize("leaves", [False, True])
def test_what_follows_a_block_depends_on_no_branch_inside(leaves: bool) -> None:
    """Load buffering: a store behind the block may come first, one inside may not."""
    y = X + 1
    left = If(Binary("eq", A, Const(0)), (Break(label="out"),))
    inside = (left, _write(y)) if leaves else (left,)
    body = (Op("READ_ONCE", ("a",), (Const(X),)), Block("out", inside))
    first = (*body, Return()) if leaves else (*body, _write(y), Return())
    second = (
        Op("READ_ONCE", ("a",), (Const(y),)),
        If(A, (_write(X),)),
        Return(),
    )
    functions = {"P0": Function("P0", (), first), "P1": Function("P1", (), second)}
    threads = (Thread("P0", "P0"), Thread("P1", "P1"))
    made = Program("lb", functions, threads, observed=(Reg(0, "a"), Reg(1, "a")))
    assert ((1, 1) in decide(made).states) is not leaves


def test_labels_are_shown() -> None:
    body = (
        Block("out", (*_loop("again", (Continue(label="again"),), ()), Break(label="out"))),
    )
    lines = [line.strip() for line in function_text(_function(body)).splitlines()]
    assert {"block out:", "loop again:", "continue again", "break out"} <= set(lines)
