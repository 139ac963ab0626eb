"""Intervals of ratios: Student's t against tables, coverage, and what a decision needs."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkold.run.interval import ratio, student_t

# M. Abramowitz, I. Stegun, table 26.10, A(t) = 0.95.
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 7: 2.365, 10: 2.228, 30: 2.042}


@pytest.mark.parametrize("degrees", T_95)
def test_quantiles_of_t(degrees: int) -> None:
    assert student_t(degrees) == pytest.approx(T_95[degrees], rel=2e-3)


def test_the_interval_holds_the_truth_nearly_as_often_as_it_says() -> None:
    """Six turns, a drift common to both paths, noise of each: 400 runs of a true 0.9."""
    chance = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        drift = chance.normal(1, 0.2, 6).clip(0.3)
        base = (100 * drift * chance.normal(1, 0.03, 6)).tolist()
        other = (90 * drift * chance.normal(1, 0.03, 6)).tolist()
        found = ratio(fmean, other, base)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.9 <= found.high
        assert found.high / found.low < 1.4, "the drift cancels out"
    assert 0.9 <= held / 400 <= 0.99


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=9), st.floats(0.1, 10))
def test_exact_proportion_has_no_width(values: list[float], scale: float) -> None:
    found = ratio(fmean, [v * scale for v in values], values)
    assert found is not None
    assert found.low == pytest.approx(scale)
    assert found.high == pytest.approx(scale)


def test_too_few_turns_give_no_interval() -> None:
    found = ratio(fmean, [1.0, 2.0], [1.0, 2.0])
    assert found is not None
    assert found.low is None
    assert not found.seen
    assert ratio(fmean, [1.0], [0.0]) is None
