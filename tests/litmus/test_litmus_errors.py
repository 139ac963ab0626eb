"""Bad tests are refused where they are bad, and what is not modelled is named."""

from __future__ import annotations

import pickle

import pytest

from mkold.base.errors import InputError, SourceError, UnsupportedError
from mkold.litmus import UnsupportedSourceError, parse

BODY = "C t\n{{ shared=0; }}\nP0(int *x, int *y)\n{{\n\t{}\n}}\nexists (shared=1)\n"


def refused(text: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        parse(text, "t.litmus")
    error = caught.value
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    return error


@pytest.mark.parametrize(
    ("statement", "reason", "col"),
    [
        ("r1 = READ_ONCE(x);", "READ_ONCE needs a place in memory", 17),
        ("r1 = READ_ONCE(*x)", "expected ';', found '}'", 1),
        ("r1 = smp_mb();", "smp_mb() has no value", 7),
        ("r1 = READ_ONCE(*x, 1);", "READ_ONCE() takes 1 argument", 19),
        ("WRITE_ONCE(*x);", "WRITE_ONCE() takes 2 arguments", 15),
        ("r1 = ;", "expected a value, found ';'", 7),
        ("r1 + 1;", "expected '=' or '('", 5),
        ("break;", "'break' outside a loop", 2),
        ("return 1;", "a thread returns nothing", 9),
        ("if r1 { }", "expected '(' before a condition", 5),
        ("r1 = 99999999999999999999;", "is no 64-bit integer", 7),
        ("r1 = 1 $ 2;", "expected ';', found '$'", 9),
        ("* = 1;", "expected a value, found '='", 4),
        ("int 3;", "expected a name to declare", 6),
        ("WRITE_ONCE(*x, shared);", "'shared' is no parameter of P0", 17),
    ],
)
def test_bad_statement(statement: str, reason: str, col: int) -> None:
    error = refused(BODY.format(statement))
    assert reason in error.reason
    assert error.pos.col == col
    assert "^" in str(error)
    assert not isinstance(error, UnsupportedError)


@pytest.mark.parametrize(
    ("statement", "construct"),
    [
        ("goto mid; while (1) { mid: ; }", "a jump into the block in which 'mid' stands"),
        ("{ while (1) { mid: ; } goto mid; }", "a jump into the block in which 'mid' stands"),
        ("goto mid; again: r1 = 1; mid: if (r1) goto again;", "a jump into a loop"),
        ("switch (r1) case 1: ;", "'switch' without a block"),
        ("switch (r1) { case 1: if (r1) { case 2: ; } }", "'case' within another statement"),
        ("asm(r1);", "asm"),
        ("r1 = *x + smp_cond_load_relaxed(x, VAL);", "smp_cond_load_relaxed() within"),
        ("smp_cond_load_relaxed(x, VAL == *x);", "a condition on VAL that reads memory"),
        ("r1 = x->next;", "struct members"),
        ("call_rcu(x, y);", "'call_rcu'"),
        ("r1 = sizeof(int);", "sizeof"),
        ("int r[3];", "arrays in registers"),
        ("r1 = r2++;", "expected ';'"),
        ("r1 = ++r2;", "'++' inside an expression"),
        ("node_t *r;", "'node_t' is no type"),
        (" ".join(f"l{i}: ;" for i in range(61)), "more than 60 labels"),
        ("__fence{sideways};", "__fence{sideways}"),
        ("r1 = " + "(" * 200 + "1" + ")" * 200 + ";", "nested more than"),
        ("{" * 200 + "}" * 200, "nested more than"),
        ("if (1) " * 200 + ";", "nested more than"),
    ],
)
def test_unsupported_construct_is_named(statement: str, construct: str) -> None:
    error = refused(BODY.format(statement))
    assert construct in error.reason
    if "expected" not in construct:
        assert isinstance(error, UnsupportedSourceError)


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("", "starts with its language and name", 1),
        ("AArch64 t\n{ }\n", "a test in AArch64, not in C", 1),
        ("C t\nP0(int *x) ", "no initial state", 2),
        ("C t\n{ int x = 1;\n", "this brace is never closed", 2),
        ("C t\n(* open\n{ }\n", "this comment is never closed", 2),
        ("C t\n{ }\nP0(int *x) { \nexists (x=1)", "this brace is never closed", 3),
        ("C t\n{ }\nP0(int *x) { } }\n", "this brace closes nothing", 3),
        ("C t\n{ }\nexists (x=1)", "no thread", 3),
        ("C t\n{ }\nP1(int *x) { }\n", "expected P0", 3),
        ("C t\n{ }\nP0(int x) { }\n", "parameter 'x' is no pointer", 3),
        ("C t\n{ }\nP0(foo *x) { }\n", "expected a type", 3),
        ("C t\n{ x = ; }\nP0() { }\n", "expected an integer or a variable", 2),
        ("C t\n{ int x[2] = {1}; }\nP0() { }\n", "1 values for 2 elements", 2),
        ("C t\n{ int x[9999]; }\nP0() { }\n", "1 to 4096", 2),
        ("C t\n{ }\nP0() { }\nexists (1:r1=1)", "there is no thread P1", 4),
        ("C t\n{ x; }\nP0() { }\nexists (x)", "expected '=' or '!='", 4),
        ("C t\n{ x; }\nP0() { }\nexists (x=1", "expected ')'", 4),
        ("C t\n{ x; }\nP0() { }\nexists (x=1) y", "unexpected 'y'", 4),
        ("C t\n{ }\nP0() { }\nlocations [0:r1", "expected ';' or ']'", 4),
    ],
)
def test_bad_part(text: str, reason: str, line: int) -> None:
    error = refused(text)
    assert reason in error.reason
    assert error.pos.line == line


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(InputError, match="no litmus test"):
        parse("C t\n" + " " * 1_000_001)


TEST = (
    "C t\n{{ {init} }}\nP0({head}) {{\n\tr1 = READ_ONCE(*x);\n}}\n"
    "P1(int *y) {{\n\tr2 = 1;\n}}\n{final}\n"
)


@pytest.mark.parametrize(
    ("parts", "reason", "hint", "at"),
    [
        ({"final": "exists (zz=0)"}, "'zz' is nowhere in this test", "initial state", (9, 9)),
        ({"final": "exists (0:r1=zz)"}, "'zz' is nowhere in this test", "", (9, 14)),
        ({"final": "filter (zz=1) exists (x=0)"}, "'zz' is nowhere", "", (9, 9)),
        ({"final": "locations [zz] exists (x=0)"}, "'zz' is nowhere", "", (9, 12)),
        ({"final": "exists (0:r2=0)"}, "'r2' is nowhere in P0", "P1 has it: '1:r2'", (9, 11)),
        ({"final": "exists (r2=0)"}, "'r2' is a register", "write '1:r2'", (9, 9)),
        ({"final": "exists (0:r1=r2)"}, "'r2' is a register", "write '1:r2'", (9, 14)),
        ({"final": "exists (P7:r1=0)"}, "there is no thread P7", "P0 to P1", (9, 9)),
        ({"final": "exists (a[5]=0)"}, "index 5 is out of bounds", "2 elements", (9, 11)),
        ({"final": "exists (0:r1=a[2])"}, "index 2 is out of bounds", "2 elements", (9, 16)),
        ({"final": "exists (x[1]=0)"}, "index 1 is out of bounds", "one variable", (9, 11)),
        ({"final": "exists (a={1})"}, "1 values for 2 elements", "", (9, 11)),
        ({"final": "exists (x={1,2})"}, "a list of values for what is no array", "", (9, 11)),
        ({"final": "observed 0:r1=1 0:r1=2;"}, "expected ';' after an observed", "", (9, 17)),
        ({"init": "int x; int x;"}, "'x' is initialised twice", "", (2, 14)),
        ({"init": "x = 1; int x[2];"}, "'x' is initialised twice", "", (2, 14)),
        ({"init": "0:r1=1; P0:r1=1;"}, "0:r1 is initialised twice", "", (2, 11)),
        ({"init": "7:r5=1;"}, "there is no thread P7", "", (2, 3)),
        ({"init": "0:x=1;"}, "'x' is a parameter of P0", "", (2, 3)),
        ({"init": "int *p = &b[3]; int b[3];"}, "index 3 is out of bounds", "3 el", (2, 15)),
        ({"head": "int *x, int *x"}, "two parameters are called 'x'", "", (3, 17)),
    ],
)
def test_what_is_not_there_is_refused(
    parts: dict[str, str], reason: str, hint: str, at: tuple[int, int]
) -> None:
    defaults = {"init": "int a[2];", "head": "int *x", "final": ""}
    error = refused(TEST.format(**{**defaults, **parts}))
    assert reason in error.reason
    assert hint in error.hint
    assert (error.pos.line, error.pos.col) == at
    assert "^" in str(error)


@pytest.mark.parametrize(
    ("statement", "reason", "col"),
    [
        ("goto out;", "there is no label 'out'", 7),
        ("goto out; out: ; out: ;", "two labels are called 'out'", 19),
        ("goto 1;", "expected a label, found '1'", 7),
        ("break;", "'break' outside a loop or a switch", 2),
        ("switch (r1) { case 1: continue; }", "'continue' outside a loop", 24),
        ("case 1: ;", "'case' outside a switch", 2),
        ("default: ;", "'default' outside a switch", 2),
        ("switch (r1) { case r1: ; }", "a case is no constant", 21),
        ("switch (r1) { case 1: case 2 - 1: ; }", "two cases of one switch are 1", 29),
        ("switch (r1) { default: default: ; }", "two defaults in one switch", 25),
        ("switch (r1) { case 1; }", "expected ':' after 'case'", 22),
        ("r1 = VAL;", "VAL has a value only inside a condition", 7),
    ],
)
def test_a_jump_that_leads_nowhere_is_refused(statement: str, reason: str, col: int) -> None:
    error = refused(BODY.format(statement))
    assert reason in error.reason
    assert (error.pos.line, error.pos.col) == (5, col)


@pytest.mark.parametrize("name", ["out", "READ_ONCE", "int", "goto", "while", "__load"])
def test_a_condition_names_no_register_that_is_none(name: str) -> None:
    body = "int r1 = READ_ONCE(*x);\n\twhile (r1) r1 = __load{once}(*x);\n\tgoto out;\n\tout: ;"
    error = refused(f"C t\n{{ }}\nP0(int *x)\n{{\n\t{body}\n}}\nexists (0:{name}=0)\n")
    assert f"'{name}' is nowhere in P0" in error.reason


def test_a_missing_initial_state_is_named() -> None:
    error = refused("C t (* P9(x) *)\n\nP0(int *x)\n{\n}\nexists (x=1)\n")
    assert "the initial state is missing" in error.reason
    assert "{ }" in error.hint
    assert error.pos.line == 3


@pytest.mark.parametrize(
    "body",
    [
        "int r1;\n\t(* said *)\n\tr1 = 1;",
        "int r1; (* two\nlines *)\n\tr1 = 1;",
        "r1 = (* one *) 1;",
        "r1 = 1 (* * *);",
        "if (r1) (*) {} *) r1 = 2;",
    ],
)
def test_a_comment_of_the_wrong_kind_is_named(body: str) -> None:
    assert "comments in a body are /* */" in refused(BODY.format(body)).hint


def test_no_hint_on_comments_where_there_is_none() -> None:
    assert refused(BODY.format("int r1; r1 = (*x; r1 = *x)*(*y);")).hint == ""
