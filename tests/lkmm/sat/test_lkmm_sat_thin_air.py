"""Rings of copies that this engine leaves out are told; what is no such ring is not."""

from __future__ import annotations

import pytest

from mkold.ir.program import UNKNOWN
from mkold.litmus import parse
from mkold.lkmm import decide
from mkold.lkmm.tally import THIN_AIR

RING = """C ring
{ INIT }
P0(int *x, int *y) { int r1; r1 = READ; WRITE_ONCE(*y, COPY); }
P1(int *x, int *y) { int r1; r1 = READ_ONCE(*y); FENCE WRITE_ONCE(*x, r1); }
exists (0:r1=2)
"""


def text(init: str = "", read: str = "*x", copy: str = "r1", fence: str = "") -> str:
    made = RING.replace("INIT", init).replace("COPY", copy).replace("FENCE", fence)
    return made.replace("= READ;", f"= {read};")


@pytest.mark.parametrize(
    ("test", "is_ring"),
    [
        (text(), True),
        (text(init="x = 3;"), True),
        (text(fence="smp_mb();"), True),  # the plain read is ordered by nothing
        (text(read="READ_ONCE(*x)"), False),  # happens-before goes round
        (text(copy="r1 + 1"), False),  # herd7 leaves such values out as well
        (text(copy="1"), False),
        (text(read="*y"), False),
    ],
)
def test_rings_that_are_left_out_are_told(test: str, is_ring: bool) -> None:
    program = parse(test)
    verdict, herds = decide(program, engine="sat"), decide(program, engine="masks")
    assert verdict.assumed == ((THIN_AIR,) if is_ring else ())
    named = tuple(state for state in herds.states if UNKNOWN not in state)
    assert verdict.states == named
    assert (named != herds.states) == is_ring
    assert not is_ring or "data-race" in verdict.flags
