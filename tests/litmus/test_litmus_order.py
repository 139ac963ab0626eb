"""Operands of one C expression: in no order but that of what they depend on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mkold.base.errors import LimitError, UnsupportedError
from mkold.ir.edit import map_statements
from mkold.ir.nodes import Op, Stmt, walk
from mkold.litmus import UnsupportedSourceError, parse
from mkold.lkmm import decide

READS = ["READ_ONCE(*x)", "READ_ONCE(*y)", "smp_load_acquire(y)", "*x", "READ_ONCE(*x)"]
CALLS = ["xchg(x, {})", "xchg_release(y, {})", "cmpxchg(x, {}, 3)", "cmpxchg_acquire(y, 0, {})",
         "atomic_add_return({}, x)", "atomic_fetch_inc_relaxed(y) + {}"]  # fmt: skip
STATEMENTS = [
    "WRITE_ONCE(*x, {});", "smp_store_release(y, {});", "*y = {};", "r = {};",
    "if ({}) WRITE_ONCE(*y, 1);", "r = {}; smp_mb();", "smp_mb(); r = {};",
    "smp_mb__before_atomic(); r = {};", "r = {}; smp_mb__after_atomic();",
]  # fmt: skip
OTHERS = ["WRITE_ONCE(*x, 1);", "WRITE_ONCE(*y, 2);", "smp_store_release(y, 1);", "smp_wmb();",
          "smp_mb();", "r = READ_ONCE(*x);", "r = smp_load_acquire(y);", "*x = 1;"]  # fmt: skip


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(READS))
    if draw(st.booleans()):
        return draw(st.sampled_from(CALLS)).format(draw(expressions(depth - 1)))
    sign = draw(st.sampled_from(["+", "-", "*", "==", "&&", "||"]))
    return f"({draw(expressions(depth - 1))} {sign} {draw(expressions(depth - 1))})"


@st.composite
def programs(draw: st.DrawFn) -> str:
    first = draw(st.sampled_from(STATEMENTS)).format(draw(expressions()))
    second = "\n".join(draw(st.lists(st.sampled_from(OTHERS), min_size=1, max_size=3)))
    return text_of(first, second)


def text_of(first: str, second: str = "", before: str = "") -> str:
    head = f"C t\n{{ }}\nP0(int *x, int *y)\n{{\nint r; {before} {first}\n}}\n"
    return head + f"P1(int *x, int *y)\n{{\nint r; {second}\n}}\nlocations [0:r; 1:r; x; y]\n"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_as_the_textbook_engine(text: str) -> None:
    program = parse(text)
    try:
        literal = decide(program, engine="literal")
    except LimitError:
        assume(False)
    masks = decide(program, engine="masks")
    assert set(masks.states) <= set(literal.states)
    if "xchg" not in text and "atomic" not in text:
        assert (masks.states, masks.flags) == (literal.states, literal.flags)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_order_takes_outcomes_away(text: str) -> None:
    """Every outcome of the operands from left to right is one of those in no order."""
    program = parse(text)
    functions = {
        name: replace(function, body=map_statements(function.body, from_left_to_right))
        for name, function in program.functions.items()
    }
    in_order = decide(replace(program, functions=functions), engine="masks")
    assert set(in_order.states) <= set(decide(program, engine="masks").states)


def from_left_to_right(stmt: Stmt) -> tuple[Stmt, ...] | None:
    return (replace(stmt, group=0),) if isinstance(stmt, Op) else None


@pytest.mark.parametrize(
    ("statement", "n"),
    [
        ("r = READ_ONCE(*x);", 0),
        ("r = READ_ONCE(*x) + 1;", 0),
        ("WRITE_ONCE(*x, 1);", 0),
        ("r = READ_ONCE(*x) + READ_ONCE(*y);", 2),
        ("WRITE_ONCE(*x, READ_ONCE(*y));", 2),
        ("*x += READ_ONCE(*y);", 3),
        ("if (*x == *y) r = 1;", 2),
        ("while (*x != *y) r = 1;", 2),
        ("for (r = *x + *y; r; r = 0) ;", 2),
        ("int s = *x - *y;", 2),
        ("(void)(*x - *y);", 2),
        ("r = *x; r = *y;", 0),
        ("r = x[READ_ONCE(*y)];", 2),
    ],
)
def test_operations_of_one_expression(statement: str, n: int) -> None:
    body = parse(text_of(statement)).functions["P0"].body
    groups = [s.group for s in walk(body) if isinstance(s, Op)]
    assert sum(group != 0 for group in groups) == n
    assert len({group for group in groups if group}) == min(n, 1)


def test_each_expression_has_a_group_of_its_own() -> None:
    body = parse(text_of("r = *x + *y; r = *x - *y;")).functions["P0"].body
    assert [s.group for s in walk(body) if isinstance(s, Op)] == [1, 1, 2, 2]


def test_a_loop_runs_an_expression_anew_each_time() -> None:
    loop = "int i; for (i = 0; i < 2; i++) r = r * 100 + READ_ONCE(*x) * 10 + READ_ONCE(*x);"
    verdict = decide(parse(text_of(loop, "WRITE_ONCE(*x, 1);", before="r = 0;")))
    assert {state[0] for state in verdict.states} == {0, 1, 10, 11, 111, 1011, 1111}


@pytest.mark.parametrize(
    "statement", ["r = xchg(x, 1) + READ_ONCE(*x);", "r = READ_ONCE(*x) + xchg(x, 1);"]
)
def test_what_the_rounds_can_not_follow_is_refused(statement: str) -> None:
    assert len(decide(parse(text_of(statement))).states) == 2
    with pytest.raises(UnsupportedError, match="writes a variable and accesses it otherwise"):
        decide(parse(text_of(f"for (;;) {{ {statement} break; }}")), engine="masks")


def test_a_read_section_that_starts_in_an_expression_is_refused() -> None:
    with pytest.raises(UnsupportedSourceError, match="within a larger expression"):
        parse(
            "C t\n{ }\nP0(struct srcu_struct *s, int *x)\n{\nr = srcu_read_lock(s) + *x;\n}\n"
        )
