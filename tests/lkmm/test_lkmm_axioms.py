"""The model's answer to each idiom, and the axiom that forbids it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from idioms import NEVER, ROWS, SOMETIMES
from small import by_masks, program

from mkold.lkmm import Axiom, Observation


@pytest.mark.parametrize(
    ("threads", "asked", "observation", "axiom"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_outcome(
    threads: tuple[str, ...], asked: str, observation: Observation, axiom: Axiom | None
) -> None:
    made = program(*threads, exists=asked)
    full, quick = by_masks(made), by_masks(made, states=False, witness=True)
    assert full.observation is observation
    assert quick.observation is observation
    assert full.holds is (observation is not NEVER)
    if axiom is not None:
        assert quick.forbidden is not None
        cycle = quick.forbidden.cycle
        assert cycle is not None
        assert cycle.axiom is axiom
        ends = [edge.target for edge in cycle.edges]
        starts = [edge.source for edge in cycle.edges]
        assert ends == starts[1:] + starts[:1]  # a closed path
        if axiom is not Axiom.PLAIN_COHERENCE:
            assert cycle.parts
            for edge, following in pairwise((*cycle.parts, cycle.parts[0])):
                assert edge.target == following.source
    elif observation is SOMETIMES:
        assert quick.witness is not None
