"""Operands of one C expression: held against the engine that tries all their orders."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mkold.base.errors import LimitError
from mkold.litmus import parse
from mkold.lkmm import decide

READS = ["READ_ONCE(*x)", "READ_ONCE(*y)", "smp_load_acquire(y)", "*x", "smp_load_acquire(x)"]
CALLS = ["xchg(x, {})", "xchg_release(y, {})", "xchg_acquire(x, {})", "cmpxchg(x, {}, 3)",
         "cmpxchg_acquire(y, 0, {})", "atomic_add_return({}, x)", "xchg_relaxed(x, {})",
         "atomic_fetch_inc_relaxed(y) + {}"]  # fmt: skip
STATEMENTS = [
    "WRITE_ONCE(*x, {});", "smp_store_release(y, {});", "*y = {};", "r = {};", "r = {};",
    "if ({}) WRITE_ONCE(*y, 1);", "r = {}; smp_mb();", "smp_mb(); r = {};",
    "smp_mb__before_atomic(); r = {};", "r = {}; smp_mb__after_atomic();",
    "r = {}; s = READ_ONCE(*x);",
]  # fmt: skip
OTHERS = ["WRITE_ONCE(*x, 1);", "WRITE_ONCE(*y, 2);", "smp_store_release(y, 1);", "smp_wmb();",
          "smp_mb();", "r = READ_ONCE(*x);", "s = smp_load_acquire(y);", "*x = 1;"]  # fmt: skip


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.sampled_from(READS))
    if draw(st.booleans()):
        return draw(st.sampled_from(CALLS)).format(draw(expressions(depth - 1)))
    sign = draw(st.sampled_from(["+", "-", "*", "==", "&&", "||"]))
    return f"({draw(expressions(depth - 1))} {sign} {draw(expressions(depth - 1))})"


@st.composite
def programs(draw: st.DrawFn) -> str:
    first = draw(st.sampled_from(STATEMENTS)).format(draw(expressions()))
    before = draw(st.sampled_from(["", *OTHERS]))
    second = "\n".join(draw(st.lists(st.sampled_from(OTHERS), min_size=1, max_size=4)))
    return text_of(f"{before} {first}", second)


def text_of(first: str, second: str) -> str:
    threads = "".join(
        f"P{i}(int *x, int *y)\n{{\nint r; int s; r = 0; s = 0; {body}\n}}\n"
        for i, body in enumerate((first, second))
    )
    return f"C t\n{{ }}\n{threads}\nlocations [0:r; 0:s; 1:r; 1:s; x; y]\n"


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_as_where_all_orders_are_tried(text: str) -> None:
    program = parse(text)
    try:
        masks = decide(program, engine="masks")
    except LimitError:
        assume(False)
    sat = decide(program, engine="sat")
    assert sorted(sat.states) == sorted(masks.states)
    assert sat.flags == masks.flags


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("READ_ONCE(*x) * 10 + xchg(x, 1)", {0, 10}),
        ("xchg(x, 1) + READ_ONCE(*x) * 10", {0, 10}),
        ("xchg(x, 1) * 10 + xchg(x, 2)", {1, 20}),
        ("xchg(x, READ_ONCE(*x) + 1)", {0}),
    ],
)
def test_a_thread_by_itself(expression: str, found: set[int]) -> None:
    text = f"C t\n{{ }}\nP0(int *x)\n{{\nint r = {expression};\n}}\nlocations [0:r;]\n"
    assert {state[0] for state in decide(parse(text), engine="sat").states} == found


@pytest.mark.parametrize("rounds", [2, 3])
def test_in_a_loop_each_round_has_its_own_order(rounds: int) -> None:
    body = (
        f"r = 0; for (i = 0; i < {rounds}; i++) r = r * 100 + READ_ONCE(*x) * 10 + xchg(x, 0);"
    )
    text = (
        f"C t\n{{ }}\nP0(int *x)\n{{\nint r; int i; {body}\n}}\n"
        "P1(int *x)\n{\nWRITE_ONCE(*x, 1);\n}\nlocations [0:r;]\n"
    )
    found = {state[0] for state in decide(parse(text), engine="sat").states}
    assert found == set(_interleaved(rounds))


def _interleaved(rounds: int) -> Iterator[int]:
    """One word is as if all its accesses came one after the other."""
    for orders in product((1, -1), repeat=rounds):
        for place in range(2 * rounds + 1):
            word = result = 0
            for i, order in enumerate(orders):
                found: dict[str, int] = {}
                for j, step in enumerate(("look", "take")[::order]):
                    word = 1 if 2 * i + j == place else word
                    found[step] = word
                    word = 0 if step == "take" else word
                result = result * 100 + found["look"] * 10 + found["take"]
            yield result
