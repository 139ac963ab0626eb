"""Reading: initial states, bodies and conditions become the program that is meant."""

from __future__ import annotations

from typing import Any

import pytest

from mkold.ir.nodes import Assign, Binary, Const, If, Local, Loop, Op, Return, Select, Unary
from mkold.ir.program import And, Compare, Mem, Not, Or, Program, Reg, Words
from mkold.ir.verify import verify
from mkold.litmus import parse, result_comment
from mkold.litmus.globals import BASE, MAX_VARIABLES, SPACING

INT32: Any = {"width": 32, "signed": True}
X, Y, A, B = (BASE + SPACING * i for i in range(4))


def read(
    body: str, *, init: str = "", head: str = "int *x, int *y", final: str = ""
) -> Program:
    program = parse(f"C test\n{{ x=0; y=0; {init} }}\nP0({head})\n{{\n{body}\n}}\n{final}\n")
    verify(program.functions)
    return program


def statements(body: str, **more: str) -> tuple[object, ...]:
    return read(body, **more).functions["P0"].body


def test_result_goes_straight_to_the_register() -> None:
    (op,) = statements("r1 = READ_ONCE(*x);")
    assert op == Op("READ_ONCE", ("r1",), (Const(X),))
    assert isinstance(op, Op)
    assert op.what == "x"
    assert op.at is not None
    assert (op.at.line, op.at.col, op.at.end) == (5, 6, 19)


@pytest.mark.parametrize(
    ("text", "op"),
    [
        ("WRITE_ONCE(*x, 1);", Op("WRITE_ONCE", (), (Const(X), Const(1)))),
        ("smp_store_release(x, y);", Op("smp_store_release", (), (Const(X), Const(Y)))),
        ("rcu_assign_pointer(*x, y);", Op("rcu_assign_pointer", (), (Const(X), Const(Y)))),
        ("atomic_add(3, x);", Op("atomic_add", (), (Const(X), Const(3)), **INT32)),
        ("set_bit(5, x);", Op("set_bit", (), (Const(X), Const(5)))),
        ("r = cmpxchg(x, 1, 2);", Op("cmpxchg", ("r",), (Const(X), Const(1), Const(2)))),
        ("r = atomic_inc_not_zero(x);",
         Op("atomic_inc_not_zero", ("r",), (Const(X),), **INT32)),
        ("xchg_release(x, 4);", Op("xchg_release", (), (Const(X), Const(4)))),
        ("*x = 1;", Op("store", (), (Const(X), Const(1)))),
        ("r = *x;", Op("load", ("r",), (Const(X),))),
        ("(void)atomic_inc_return(x);", Op("atomic_inc_return", ("$1",), (Const(X),), **INT32)),
        ("__store{release}(*x, 1);", Op("smp_store_release", (), (Const(X), Const(1)))),
        ("__fence{after-spinlock};", Op("smp_mb__after_spinlock")),
        ("__atomic_op(x, &~, 2);", Op("atomic_andnot", (), (Const(X), Const(2)))),
        ("r = __cmpxchg{acquire}(x, 0, 1);",
         Op("cmpxchg_acquire", ("r",), (Const(X), Const(0), Const(1)))),
        ("WRITE_ONCE(a[2], 7);", Op("WRITE_ONCE", (), (Const(A + 2), Const(7)))),
        ("WRITE_ONCE(*(int *)y, -1);", Op("WRITE_ONCE", (), (Const(Y), Const(2**64 - 1)))),
        ("smp_mb();", Op("smp_mb")),
        ("spin_lock(x);", Op("spin_lock", (), (Const(X),))),
    ],
)  # fmt: skip
def test_macro(text: str, op: Op) -> None:
    assert statements(text, init="int a[3];", head="int *x, int *y, int *a") == (op,)


def test_pointer_read_from_memory_is_followed() -> None:
    first, second = statements("int *r1 = READ_ONCE(*x); int r2 = READ_ONCE(*r1);")
    assert isinstance(first, Op)
    assert second == Op("READ_ONCE", ("r2",), (Local("r1"),))


def test_operators_bind_as_in_c_and_are_signed() -> None:
    (_, assign) = statements("int r; r = r + 2 * 3 == 7 | r < 1;")
    r = Local("r")
    left = Binary("eq", Unary("s32", Binary("add", r, Const(6))), Const(7))
    assert assign == Assign("r", Binary("or", left, Binary("slt", r, Const(1))))


def test_a_dependency_is_never_folded_away() -> None:
    (_, assign) = statements("int r; r = (r ^ r) + 0 * r;")
    assert isinstance(assign, Assign)
    assert "Local" in repr(assign.value)


def test_a_register_that_may_be_unassigned_starts_as_zero() -> None:
    body = statements("if (READ_ONCE(*x)) { r1 = 2; } WRITE_ONCE(*y, r1);")
    assert body[0] == Assign("r1", Const(0))


def test_a_register_assigned_in_both_arms_needs_no_zero() -> None:
    body = statements("if (READ_ONCE(*x)) r1 = 2; else r1 = 3; WRITE_ONCE(*y, r1);")
    assert not isinstance(body[0], Assign)


def test_initial_registers() -> None:
    body = statements("WRITE_ONCE(*r8, r7);", init="0:r7=3; int *0:r8=y;")
    assert body[:2] == (Assign("r7", Const(3)), Assign("r8", Const(Y)))


def test_a_parameter_that_is_assigned_becomes_a_register() -> None:
    body = statements("x = READ_ONCE(*x); WRITE_ONCE(*x, 1);")
    assert body[0] == Assign("x", Const(X))
    assert body[1] == Op("READ_ONCE", ("x",), (Local("x"),))


def test_a_parameter_in_the_condition_shows_its_address() -> None:
    program = read("WRITE_ONCE(*x, 1);", final="exists (0:x=x)")
    assert program.functions["P0"].body[0] == Assign("x", Const(X))


def test_shortcut_operators_read_only_what_they_need() -> None:
    body = statements("r = READ_ONCE(*x) && READ_ONCE(*y);")
    branch = next(stmt for stmt in body if isinstance(stmt, If))
    assert any(isinstance(stmt, Op) for stmt in branch.then)


def test_select_without_memory_is_no_branch() -> None:
    (_, assign) = statements("int r; r = r ? 1 : 2;")
    assert assign == Assign("r", Select(Local("r"), Const(1), Const(2)))


def test_loops_and_jumps() -> None:
    body = statements("int i; for (i = 0; i < 3; i++) { if (i == 2) break; else continue; }")
    loop = next(stmt for stmt in body if isinstance(stmt, Loop))
    assert loop.step == (Assign("i", Unary("s32", Binary("add", Local("i"), Const(1)))),)
    assert statements("while (1) { return; }") == (Loop((Return(),)),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int z = 5;", {BASE + 2 * SPACING: 5}),
        ("z = y", {BASE + 2 * SPACING: Y}),
        ("int *z = &y;", {BASE + 2 * SPACING: Y}),
        ("atomic_t z = ATOMIC_INIT(-2);", {BASE + 2 * SPACING: 2**64 - 2}),
        ("int z[2] = {7, x};", {BASE + 2 * SPACING: 7, BASE + 2 * SPACING + 1: X}),
        ("spinlock_t z; (* a comment { *)", {BASE + 2 * SPACING: 0}),
        ("[z] = 0x10;", {BASE + 2 * SPACING: 16}),
    ],
)
def test_initial_words(text: str, words: dict[int, int]) -> None:
    program = read("smp_mb();", init=text)
    assert {k: v for k, v in program.init.items() if k > Y} == words


@pytest.mark.parametrize(
    ("text", "quantifier", "formula"),
    [
        ("exists (0:r1=1)", "exists", Compare("eq", Reg(0, "r1"), 1)),
        ("exists 0:r1=1 /\\ x=y",
         "exists", And((Compare("eq", Reg(0, "r1"), 1), Compare("eq", Mem(X), Y)))),
        ("~exists (x=1 \\/ y=1 /\\ x=2)", "~exists",
         Or((Compare("eq", Mem(X), 1),
             And((Compare("eq", Mem(Y), 1), Compare("eq", Mem(X), 2)))))),
        ("forall (~x=1)", "forall", Not(Compare("eq", Mem(X), 1))),
        ("exists (not (x!=-1))", "exists", Not(Not(Compare("eq", Mem(X), 2**64 - 1)))),
        ("exists (0:r1=0:r2)", "exists", Compare("eq", Reg(0, "r1"), Reg(0, "r2"))),
        ("exists ([x]=[y])", "exists", Compare("eq", Mem(X), Mem(Y))),
        ("forall true", "forall", And(())),
        ("exists (x=1 => y=1 /\\ false)", "exists",
         And((Or((Not(Compare("eq", Mem(X), 1)), Compare("eq", Mem(Y), 1))), Or(())))),
        ("", "forall", And(())),
        ("exists (0: r1 = 1) (* said *)", "exists", Compare("eq", Reg(0, "r1"), 1)),
    ],
)  # fmt: skip
def test_condition(text: str, quantifier: str, formula: object) -> None:
    condition = read("int r1; int r2;", final=text).condition
    assert condition is not None
    assert (condition.quantifier, condition.formula) == (quantifier, formula)


def test_observed_are_registers_then_variables() -> None:
    program = read("r1 = 1;", final="locations [y; x; 0:r2;] exists (0:r1=1)")
    assert program.observed == (Reg(0, "r1"), Reg(0, "r2"), Mem(X), Mem(Y))


def test_filter() -> None:
    program = read("smp_mb();", final="filter (x=1) exists (y=1)")
    assert program.filter == Compare("eq", Mem(X), 1)


HEAD = """C name+of-test
"a quoted { text"
Prefetch=0:x=F
Cycle=Rfe PodRR
(* Result: Never { exists (* nested *) *)
{ }
P0(int *x) { /* exists */ r1 = READ_ONCE(*x); // } forall
}
void P1(void) { }
exists (0:r1=1)
"""


def test_head_lines_and_comments_are_skipped() -> None:
    program = parse(HEAD)
    assert program.name == "name+of-test"
    assert [thread.name for thread in program.threads] == ["P0", "P1"]
    assert result_comment(HEAD) == "Never"


def test_addresses_are_far_from_integers_and_from_each_other() -> None:
    program = read("smp_mb();", init="int a[3]; z = 1;")
    assert program.symbols["a[2]"] == program.symbols["a"] + 2
    assert program.symbols["z"] - program.symbols["a"] == SPACING
    assert min(program.symbols.values()) > 1 << 30
    assert BASE + SPACING * MAX_VARIABLES < 1 << 31  # an int can hold each


def test_the_suffix_of_a_name_is_dropped() -> None:
    assert parse("C MP+once.litmus\n{ }\nP0(int *x) { }\n").name == "MP+once"


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("exists (0:r1<>0)", Not(Compare("eq", Reg(0, "r1"), 0))),
        ("observed 0:r1=1; x=2; and 0:r1=0; and", Or((
            And((Compare("eq", Reg(0, "r1"), 1), Compare("eq", Mem(X), 2))),
            Compare("eq", Reg(0, "r1"), 0),
            And(()),
        ))),
        ("exists (a={1,x})", And((Compare("eq", Mem(A), 1), Compare("eq", Mem(A + 1), X)))),
        ("exists (a=1)", Or(())),
        ("exists (a=x)", Or(())),
        ("exists (a=[b])", And((
            Compare("eq", Mem(A), Mem(B)), Compare("eq", Mem(A + 1), Mem(B + 1)),
        ))),
        ("exists (a=0:r1)", Or(())),
        ("exists (a[1]=b[0])", Compare("eq", Mem(A + 1), B)),
    ],
)  # fmt: skip
def test_herds_other_words(text: str, formula: object) -> None:
    condition = read("int r1;", init="int a[2]; int b[2];", final=text).condition
    assert condition is not None
    assert condition.quantifier == "exists"
    assert condition.formula == formula


def test_a_whole_array_is_observed_word_by_word_and_shown_as_one() -> None:
    program = read(
        "int r1;", init="int a[2];", final="locations [x; a[1]; a; 0:r1; 0:r9] exists (y=0)"
    )
    assert program.observed == (Reg(0, "r1"), Reg(0, "r9"), Mem(A), Mem(A + 1), Mem(X), Mem(Y))
    assert program.shown == (
        Reg(0, "r1"), Reg(0, "r9"), Words(A, 2), Mem(X), Mem(Y), Mem(A + 1)
    )  # fmt: skip
