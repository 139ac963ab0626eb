"""A model answers for what was in the formula, and for nothing that came later."""

from __future__ import annotations

import pytest
from small import program

from mkold.lkmm import decide
from mkold.lkmm.sat.solver import Solver


def test_what_is_newer_than_a_model_is_not_read_as_false() -> None:
    solver = Solver()
    a = solver.new()
    solver.add([a])
    model = solver.solve()
    assert model is not None
    assert model.holds(a)
    assert not model.holds(-a)
    with pytest.raises(AssertionError, match="not in the formula"):
        model.holds(solver.new())


def test_a_dependency_by_way_of_a_branch_orders() -> None:
    """Where r0 is 1 the address comes from the first read, under a guard of its own."""
    reader = (
        "r1 = READ_ONCE(y); r0 = READ_ONCE(z); r2 = w; if r0 == 1: r2 = r1; r3 = READ_ONCE(r2)"
    )
    made = program(
        "WRITE_ONCE(x, 1); smp_wmb(); WRITE_ONCE(y, x)", reader, "WRITE_ONCE(z, 1)",
        observed="1:r0 1:r1 1:r3", exists="1:r0=1 1:r3=0",
    )  # fmt: skip
    assert sorted(decide(made, engine="sat").states) == sorted(
        decide(made, engine="masks").states
    )
