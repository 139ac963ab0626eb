"""Locals surely assigned, ends that are reached; the verifier that uses both."""

import pytest

from mkold.ir.flow import falls_through, is_endless, stale_when_left, taken_over, unassigned
from mkold.ir.nodes import (
    Assign,
    Binary,
    Block,
    Break,
    Call,
    Const,
    Continue,
    Function,
    If,
    Local,
    Loop,
    Op,
    Return,
)
from mkold.ir.verify import verify

ONE, N, X = Const(1), Local("n"), Local("x")
SET, USE = Assign("x", ONE), Assign("y", X)
BREAK_IF = If(N, (Break(),))

ASSIGNED = {
    "in order": (SET, USE),
    "on both branches": (If(N, (SET,), (SET,)), USE),
    "on the branch that goes on": (If(N, (SET,), (Return(),)), USE),
    "before the only break": (Loop((SET, BREAK_IF)), USE),
    "before every break": (Loop((If(N, (SET, Break())), SET, Break())), USE),
    "in the body, for the step": (Loop((SET, BREAK_IF), (USE,)),),
    "after an endless loop": (Loop((Op("cpu_relax"),)), USE),
    "before the break of a block": (Block("b", (If(N, (SET, Break(label="b"))), SET)), USE),
    "when only a far break leaves": (
        Block("b", (SET, Loop((If(N, (Break(label="b"),)),)))),
        USE,
    ),
    "before every continue": (Loop((SET, If(N, (Continue(),)), BREAK_IF), (USE,)),),
    "by a primitive": (Op("load", ("x",), (N,)), USE),
}
UNASSIGNED = {
    "never": (USE,),
    "on one branch": (If(N, (SET,)), USE),
    "after a break": (Loop((BREAK_IF, SET)), USE),
    "skipped by continue": (Loop((If(N, (Continue(),)), SET, BREAK_IF), (USE,)),),
    "in an inner loop's break": (Loop((Loop((BREAK_IF,)), BREAK_IF)), USE),
    "after a break of the block": (Block("b", (If(N, (Break(label="b"),)), SET)), USE),
    "after a break of a loop around": (
        Loop((Loop((If(N, (Break(label="l"),)), SET)),), label="l"),
        USE,
    ),
    "in a condition": (If(X, (), ()),),
    "in a return": (Return((X,)),),
}


def function(body: tuple, n_results: int = 0) -> Function:
    return Function("f", ("n",), body, n_results)


@pytest.mark.parametrize("body", ASSIGNED.values(), ids=ASSIGNED)
def test_assigned(body):
    assert unassigned(function(body)) is None


@pytest.mark.parametrize("body", UNASSIGNED.values(), ids=UNASSIGNED)
def test_unassigned(body):
    assert unassigned(function(body)) == ("x", None)


def test_ends():
    assert falls_through(())
    assert falls_through((If(N, (Return(),)),))
    assert not falls_through((If(N, (Return(),), (Break(),)),))
    assert falls_through((Loop((BREAK_IF,)),))
    assert not falls_through((Loop((Loop((BREAK_IF,)),)),))
    assert falls_through((Loop((Loop((If(N, (Break(label="l"),)),)),), label="l"),))
    assert falls_through((Block("b", (If(N, (Break(label="b"),)), Return())),))
    assert not falls_through((Block("b", (Return(),)),))


def test_what_a_round_takes_over():
    early = If(N, (Continue(),))
    assert taken_over(Loop((early, SET), (USE,))) == {"n", "x"}
    assert taken_over(Loop((SET, early), (USE,))) == {"n"}
    assert taken_over(Loop((Block("b", (If(N, (Break(label="b"),)), SET)), USE))) == {"n", "x"}


WRONG = {
    "no return": {"f": function((), 1)},
    "wrong number of results": {"f": function((Return(),), 1)},
    "break outside": {"f": function((Break(),))},
    "break of no block": {"f": function((Loop((Break(label="b"),)),))},
    "continue of a block": {"f": function((Loop((Block("b", (Continue(label="b"),)),)),))},
    "a label twice": {"f": function((Block("b", (Block("b", ()),)),))},
    "a block without a label": {"f": function((Block("", ()),))},
    "jump in a step": {"f": function((Loop((BREAK_IF,), (Break(),)),))},
    "unknown primitive": {"f": function((Op("smp_xmb"),))},
    "arguments of a primitive": {"f": function((Op("load", ("x",)),))},
    "unknown callee": {"f": function((Call("g"),))},
    "recursion": {"f": function((Call("f", (), (ONE,)),))},
    "another name": {"g": function(())},
    "no word": {"f": function((Assign("x", Const(1 << 64)),))},
    "operator": {"f": function((Assign("x", Binary("pow", ONE, ONE)),))},
}


def test_what_leaves_a_loop_may_be_of_an_earlier_round() -> None:
    names = frozenset({"x", "n"})
    assert stale_when_left(Loop((SET, BREAK_IF)), names) == {"n"}
    assert stale_when_left(Loop((BREAK_IF, SET)), names) == {"x", "n"}
    far = If(N, (Break(label="b"),))
    assert stale_when_left(Loop((far, SET, BREAK_IF)), names) == {"x", "n"}
    assert stale_when_left(Loop((If(N, (Return(),)), SET)), names) == frozenset()


def test_what_nothing_leads_out_of() -> None:
    assert is_endless(Loop((SET,)))
    assert is_endless(Loop((If(N, (Continue(),)), Loop((BREAK_IF,)), SET)))
    assert not is_endless(Loop((BREAK_IF, SET)))
    assert not is_endless(Loop((If(N, (Return(),)), SET)))
    assert not is_endless(Loop((If(N, (Break(label="b"),)), SET)))


@pytest.mark.parametrize("functions", WRONG.values(), ids=WRONG)
def test_the_verifier_refuses(functions):
    with pytest.raises(AssertionError):
        verify(functions)


def test_the_verifier_accepts():
    verify({"f": function((Loop((BREAK_IF,)), Return((N,))), 1)})
