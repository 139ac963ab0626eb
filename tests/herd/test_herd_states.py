"""Packed states are worded, ordered and counted as the same states in tuples are."""

from __future__ import annotations

import numpy as np
import pytest

from mkold.herd.states import count_satisfying, text_blocks
from mkold.ir.nodes import WORD_MASK
from mkold.ir.program import Program
from mkold.litmus import parse
from mkold.lkmm.states import PackedStates

TEXT = """C t
{ x=0; }
P0(int *x) { r1 = READ_ONCE(*x); r2 = r1; r3 = r1; }
exists (%s)
"""


def program(formula: str) -> Program:
    return parse(TEXT % formula)


def both(test: Program, n: int) -> tuple[PackedStates, tuple[tuple[int, ...], ...]]:
    x = test.symbols["x"]
    words = [[0, 3, x], [1, WORD_MASK - 1, WORD_MASK], [0, 1]]
    words += [list(range(5_000))] * (len(test.observed) - 3)
    radix = int(np.prod([len(column) for column in words]))
    codes = np.unique(np.linspace(0, radix - 1, n).astype(np.uint64))
    packed = PackedStates(codes, words)
    return packed, tuple(packed)


FORMULAS = [
    "0:r1=3 /\\ 0:r2=-1 /\\ 0:r3=1",
    "0:r1=x \\/ ~(0:r2=1) \\/ 0:r3=0:r1",
    "not (0:r1=0:r3) => 0:r2=-2 /\\ true",
    "0:r1=0:r2 \\/ 0:r3=0 \\/ x=5",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_packed_states_are_as_tuples(formula: str) -> None:
    test = program(formula)
    packed, tuples = both(test, 400)
    assert "".join(text_blocks(test, packed)) == "".join(text_blocks(test, tuples))
    assert count_satisfying(test, packed) == count_satisfying(test, tuples)


def test_many_blocks() -> None:
    test = program("0:r1=3 /\\ 0:r2=1 /\\ 0:r3=1 /\\ ~(x=7)")
    packed, tuples = both(test, 70_000)
    assert "".join(text_blocks(test, packed)) == "".join(text_blocks(test, tuples))
    assert count_satisfying(test, packed) == count_satisfying(test, tuples) >= 1


def test_no_states() -> None:
    assert list(text_blocks(program("x=1"), ())) == []
