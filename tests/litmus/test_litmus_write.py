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
