"""Conditions and states read as herd7 writes them."""

from __future__ import annotations

import pytest

from mkold.herd.lines import (
    condition_line,
    head_line,
    satisfies,
    state_texts,
)
from mkold.litmus import parse
from mkold.litmus.names import Names

TEXT = "C t\n{{ x=0; int y[2]; }}\nP0(int *x) {{ r1 = READ_ONCE(*x); r2 = r1; }}\n{}\n"


def program(final: str):
    return parse(TEXT.format(final))


@pytest.mark.parametrize(
    ("final", "line"),
    [
        ("exists (0:r1=1 /\\ x=2)", "Condition exists (0:r1=1 /\\ [x]=2)"),
        ("~exists (0:r1=x)", "Condition ~exists (0:r1=x)"),
        ("forall (x!=-1)", "Condition forall (not ([x]=-1))"),
        ("exists (x=1 /\\ (0:r1=1 \\/ 0:r1=2))",
         "Condition exists ([x]=1 /\\ (0:r1=1 \\/ 0:r1=2))"),
        ("exists (y[1]=3)", "Condition exists (y[1]=3)"),
        ("forall true", "Condition forall (true)"),
        ("exists (0:r1=0:r2)", "Condition exists (0:r1=0:r2)"),
    ],
)  # fmt: skip
def test_condition_line(final: str, line: str) -> None:
    assert condition_line(program(final)) == line


@pytest.mark.parametrize(
    ("quantifier", "kind"),
    [("exists", "Allowed"), ("~exists", "Forbidden"), ("forall", "Required")],
)
def test_head_line(quantifier: str, kind: str) -> None:
    assert head_line(program(f"{quantifier} (x=1)")) == f"Test t {kind}"


def test_states_stand_by_value_integers_first() -> None:
    test = program("exists (0:r1=1 /\\ x=1)")
    x = test.symbols["x"]
    states = [(x, 1), (5, 0), (2**64 - 1, 0)]
    assert state_texts(test, states) == [
        "0:r1=-1; [x]=0;",
        "0:r1=5; [x]=0;",
        "0:r1=x; [x]=1;",
    ]


def test_formula_on_states() -> None:
    test = program("exists (0:r1=1 \\/ not (x=0))")
    assert [satisfies(test)(values) for values in [(1, 0), (0, 0), (0, 3)]] == [
        True, False, True,
    ]  # fmt: skip


def test_values() -> None:
    names = Names({"x": 4096})
    assert [names.value(w) for w in (4096, 7, 2**64 - 7)] == ["x", "7", "-7"]


def test_arrays_are_shown_whole_or_by_element() -> None:
    test = program("locations [y; y[0]; x] exists (0:r1=y)")
    y = test.symbols["y"]
    assert state_texts(test, [(y, 1, 7, 8), (0, 1, 7, 8)]) == [
        "0:r1=0; [x]=1; y={7,8}; y[0]=7;",
        "0:r1=y; [x]=1; y={7,8}; y[0]=7;",
    ]


@pytest.mark.parametrize("final", ["exists (y[0]=1)", "locations [y] exists (y[0]=1)"])
def test_the_first_element_has_its_index(final: str) -> None:
    assert condition_line(program(final)) == "Condition exists (y[0]=1)"
