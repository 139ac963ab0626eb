"""Arrays compute what ``mkold.ir.nodes`` defines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.ir.nodes import BINARY, UNARY, WORD_MASK, evaluate_binary, evaluate_unary
from mkold.lkmm.sat import vector

interesting = st.sampled_from([0, 1, 2, 63, 64, 65, 1 << 31, 1 << 63, WORD_MASK, WORD_MASK - 1])
words = st.lists(interesting | st.integers(0, WORD_MASK), min_size=1, max_size=6)
common = settings(max_examples=30, deadline=None, derandomize=True)


@pytest.mark.parametrize("op", sorted(BINARY))
@common
@given(words, words)
def test_binary(op: str, left: list[int], right: list[int]) -> None:
    pairs = [(a, b) for a in left for b in right]
    a, b = (np.array(column, np.uint64) for column in zip(*pairs, strict=True))
    assert vector.binary(op, a, b).tolist() == [evaluate_binary(op, *pair) for pair in pairs]
    one = np.array([right[0]], np.uint64)
    with_one = [evaluate_binary(op, x, right[0]) for x in a.tolist()]
    assert np.broadcast_to(vector.binary(op, a, one), a.shape).tolist() == with_one


@pytest.mark.parametrize("op", sorted(UNARY))
@common
@given(words)
def test_unary(op: str, some: list[int]) -> None:
    column = np.array(some, np.uint64)
    assert vector.unary(op, column).tolist() == [evaluate_unary(op, word) for word in some]
