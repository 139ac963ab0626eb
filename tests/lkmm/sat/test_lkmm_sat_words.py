"""Circuits compute what ``mkold.ir.nodes`` defines."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.ir.nodes import BINARY, UNARY, evaluate_binary, evaluate_unary
from mkold.lkmm.sat.solver import FALSE, TRUE, Solver
from mkold.lkmm.sat.words import Bits, Words, known

INTERESTING = [0, 1, 2, 3, 7, 63, 64, 65, 255, 256, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1]
words = st.sampled_from(INTERESTING) | st.integers(0, (1 << 64) - 1)


def _value(circuit: Words, bits: Bits, *inputs: tuple[Bits, int]) -> int:
    """The word that ``bits`` is where each input has its word."""
    fixed = [
        lit if word >> i & 1 else -lit
        for bits_in, word in inputs
        for i, lit in enumerate(bits_in)
    ]
    model = circuit.solver.solve(fixed)
    assert model is not None
    return model.word(bits)


@cache
def _circuit(op: str) -> tuple[Words, Bits, Bits, Bits]:
    """``op`` of two words, with them; made once, as a division is large."""
    circuit = Words(Solver())
    x, y = circuit.fresh(), circuit.fresh()
    return circuit, x, y, circuit.binary(op, x, y)


@pytest.mark.parametrize("op", sorted(BINARY))
@settings(max_examples=12, deadline=None, derandomize=True)
@given(a=words, b=words)
def test_binary(op: str, a: int, b: int) -> None:
    circuit, x, y, made = _circuit(op)
    assert _value(circuit, made, (x, a), (y, b)) == evaluate_binary(op, a, b)


@pytest.mark.parametrize("op", sorted(BINARY))
@settings(max_examples=4, deadline=None, derandomize=True)
@given(a=words, b=words)
def test_binary_with_a_constant(op: str, a: int, b: int) -> None:
    circuit = Words(Solver())
    x, y = circuit.fresh(), circuit.fresh()
    wanted = evaluate_binary(op, a, b)
    assert _value(circuit, circuit.binary(op, x, circuit.constant(b)), (x, a)) == wanted
    assert _value(circuit, circuit.binary(op, circuit.constant(a), y), (y, b)) == wanted
    constant = circuit.binary(op, circuit.constant(a), circuit.constant(b))
    assert known(constant) == wanted


@pytest.mark.parametrize("op", sorted(UNARY))
@settings(max_examples=20, deadline=None, derandomize=True)
@given(a=words)
def test_unary(op: str, a: int) -> None:
    circuit = Words(Solver())
    x = circuit.fresh()
    assert _value(circuit, circuit.unary(op, x), (x, a)) == evaluate_unary(op, a)
    assert known(circuit.unary(op, circuit.constant(a))) == evaluate_unary(op, a)


def test_equal_gates_are_one() -> None:
    circuit = Words(Solver())
    a, b, c = (circuit.solver.new() for _ in range(3))
    assert circuit.both(a, b) == circuit.both(b, a) == circuit.all([b, a, TRUE])
    assert circuit.differ(a, b) == -circuit.differ(-b, a)
    assert circuit.choose(c, a, b) == circuit.choose(-c, b, a)
    assert circuit.all([a, -a, b]) == FALSE


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(-6, 6).filter(bool), min_size=3, max_size=3),
       st.lists(st.booleans(), min_size=6, max_size=6))  # fmt: skip
def test_gates(lits: list[int], values: list[bool]) -> None:
    solver = Solver()
    circuit = Words(solver)
    fixed = [solver.new() for _ in range(5)]
    fixed.insert(0, TRUE)
    values[0] = True

    def value(lit: int) -> bool:
        return values[abs(lit) - 1] == (lit > 0)

    a, b, c = lits
    model = solver.solve(v if value(v) else -v for v in fixed)
    made = (circuit.all(lits), circuit.any(lits), circuit.differ(a, b),
            circuit.choose(c, a, b), circuit.both(a, b), circuit.either(a, b))  # fmt: skip
    model = solver.solve(v if value(v) else -v for v in fixed)
    assert model is not None
    x, y, z = map(value, lits)
    wanted = (x and y and z, x or y or z, x != y, x if z else y, x and y, x or y)
    assert tuple(map(model.holds, made)) == wanted


def test_one_of_gives_the_chosen_word() -> None:
    circuit = Words(Solver())
    lits = [circuit.solver.new() for _ in range(3)]
    chosen = circuit.one_of(
        (lit, circuit.constant(w)) for lit, w in zip(lits, (5, 9, 1 << 40), strict=True)
    )
    model = circuit.solver.solve([-lits[0], lits[1], -lits[2]])
    assert model is not None
    assert model.word(chosen) == 9
