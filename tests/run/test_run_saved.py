"""The least memory that keeps a guest fast: found where there is one, all of it where not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_traces import hot_and_cold

from mkold.run import MachineSpec, RunSpec, run
from mkold.run.saved import LOWEST, STEPS, can_tell, least_share

COARSE = (1 - LOWEST) / 2**STEPS


@given(st.floats(LOWEST, 1.0), st.floats(0.06, 50.0))
def test_a_step_is_found(edge: float, lost: float) -> None:
    share = least_share(lambda share: 0.01 if share >= edge else lost)
    assert edge <= share <= edge + COARSE + 1e-9


def test_shares_of_few_pages_are_all_the_same() -> None:
    assert not can_tell(40)
    assert can_tell(2358)


@pytest.mark.slow
def test_a_guest_with_a_hot_tenth_needs_less_than_all() -> None:
    spec = RunSpec(paths=("lockless",), rounds=1, duration_s=3.0, saved_s=2.0)
    machine = MachineSpec(memory_share=0.5, interval_s=0.01, swap_latency_us=2.0)
    result = run(hot_and_cold(), machine, spec=spec)
    (path,) = result.paths
    assert path.least_share is not None
    assert LOWEST < path.least_share <= 1.0
    assert result.misses is not None
    assert result.misses.min <= min(result.misses.lru, result.misses.clock)
