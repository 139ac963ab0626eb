"""Printing a program as a litmus test and reading it back changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mkold.base.errors import UnsupportedError
from mkold.ir.nodes import Call, Const, Function, FunctionWord, Local, Op
from mkold.ir.program import Program, Thread
from mkold.litmus import parse, read, write
from mkold.lkmm import decide

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.litmus"))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_round_trip(path: Path) -> None:
    program = read(path)
    again = parse(write(program))
    assert write(again) == write(program)
    assert again.symbols == program.symbols
    assert {k: v for k, v in again.init.items() if v} == {
        k: v for k, v in program.init.items() if v
    }
    assert (again.condition, again.filter) == (program.condition, program.filter)
    assert again.observed == program.observed


@pytest.mark.parametrize("path", VECTORS[::4], ids=lambda path: path.stem)
def test_round_trip_keeps_the_verdict(path: Path) -> None:
    program = read(path)
    before, after = decide(program), decide(parse(write(program)))
    assert (before.states, before.flags) == (after.states, after.flags)


def function(*body: Op | Call) -> Program:
    run = Function("f", ("p",), body)
    return Program("t", {"f": run}, (Thread("a", "f", (4096,)),), symbols={"x": 4096})


def test_arguments_become_registers() -> None:
    text = write(function(Op("WRITE_ONCE", (), (Local("p"), Const(1)))))
    assert "p = x;" in text
    assert "WRITE_ONCE(*p, 1);" in text
    assert parse(text).init == {parse(text).symbols["x"]: 0}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (Call("f", (), (Const(1),)), "call"),
        (Op("poison", (), (Local("p"), Const(4))), "poison"),
        (Op("WRITE_ONCE", (), (Local("p"), FunctionWord("f"))), "f"),
        (Op("atomic_inc", (), (Local("p"),), width=32, signed=True), "unknown object"),
    ],
)
def test_what_does_not_fit_is_named(body: Op | Call, what: str) -> None:
    with pytest.raises(UnsupportedError, match=what):
        write(function(body))


def test_an_unnamed_initial_word_does_not_fit() -> None:
    program = Program("t", {"f": Function("f", (), ())}, (Thread("a", "f"),), init={7: 1})
    with pytest.raises(UnsupportedError, match="7 has no name"):
        write(program)


@pytest.mark.parametrize(
    "expression",
    [
        "READ_ONCE(*x) + READ_ONCE(*y)",
        "cmpxchg(x, READ_ONCE(*y), xchg(y, READ_ONCE(*x)) + 1)",
        "READ_ONCE(*x) && READ_ONCE(*y)",
        "6 / (1 + READ_ONCE(*x)) - *y",
    ],
)
def test_operands_stay_in_no_order(expression: str) -> None:
    text = f"C t\n{{ }}\nP0(int *x, int *y)\n{{\nint r; r = {expression};\n}}\n"
    program = parse(text + "P1(int *x, int *y)\n{\n*x = 1; *y = 2;\n}\nlocations [0:r; x; y]\n")
    again = parse(write(program))
    before, after = decide(program), decide(again)
    assert (before.states, before.flags) == (after.states, after.flags)


def test_an_order_that_statements_would_add_is_not_written() -> None:
    text = "C t\n{ }\nP0(int *x, int *y)\n{\nint r; r = (*x && *y) + *x;\n}\n"
    with pytest.raises(UnsupportedError, match="no order"):
        write(parse(text))
