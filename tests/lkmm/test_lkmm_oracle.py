"""Knowing what reads may find while unrolling changes no verdict.

The same random programs twice: as they are (unrolled blindly) and with each thread's body
in a function that the thread calls (unrolled by rounds, with domains, forwarding and
private words). States and flags must be the same.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from random_programs import common, random_program, threads
from small import VARIABLES, by_masks, program

from mkold.ir.nodes import (
    Assign,
    Break,
    Call,
    Const,
    Function,
    If,
    Local,
    Loop,
    Op,
    Return,
    walk,
)
from mkold.ir.program import Program
from mkold.lkmm import Status

REGISTERS = tuple(f"r{i}" for i in range(4))


def called(made: Program) -> Program:
    """``made`` with each thread's body in a function of its own."""
    functions = {}
    for thread in made.threads:
        entry = made.functions[thread.function]
        inner = f"{entry.name}_body"
        zero = tuple(Assign(name, Const(0)) for name in REGISTERS)
        back = Return(tuple(map(Local, REGISTERS)))
        body = (*zero, *entry.body[:-1], back)
        functions[inner] = Function(inner, (), body, len(REGISTERS))
        functions[entry.name] = replace(entry, body=(Call(inner, REGISTERS), Return()))
    return replace(made, functions=functions)


@common
@given(threads(most=3))
def test_rounds_change_nothing(bodies: list[list[str]]) -> None:
    made = random_program(bodies)
    blind, known = by_masks(made), by_masks(called(made))
    assert set(known.states) == set(blind.states)
    # A word that one thread alone touches makes no event, so it can't be mixed or raced.
    assert set(known.flags) <= set(blind.flags)
    assert "data-race" in known.flags or "data-race" not in blind.flags


def waiting(body: str) -> Program:
    """Thread 0 waits until y is set, then reads x."""
    made = program("", body, observed="0:r1")
    read = Op("READ_ONCE", ("r0",), (Const(VARIABLES["y"], "y"),), what="y")
    loop = Loop((read, If(Local("r0"), (Break(),))))
    fence = Op("smp_rmb")
    then = Op("READ_ONCE", ("r1",), (Const(VARIABLES["x"], "x"),), what="x")
    entry = Function("P0", (), (loop, fence, then, Return()))
    return replace(made, functions={**made.functions, "P0": entry})


def test_a_loop_that_waits_is_exact() -> None:
    verdict = by_masks(waiting("WRITE_ONCE(x, 1); smp_wmb(); WRITE_ONCE(y, 1)"))
    assert verdict.status is Status.OK
    assert set(verdict.states) == {(1,)}


def test_a_loop_that_waits_without_the_writers_barrier() -> None:
    verdict = by_masks(waiting("WRITE_ONCE(x, 1); WRITE_ONCE(y, 1)"))
    assert set(verdict.states) == {(0,), (1,)}


def test_the_loop_is_there() -> None:
    made = waiting("WRITE_ONCE(y, 1)")
    assert any(isinstance(stmt, Loop) for stmt in walk(made.functions["P0"].body))
