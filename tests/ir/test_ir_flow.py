"""Locals surely assigned, ends that are reached; the verifier that uses both."""

import pytest

from mkold.ir.flow import falls_through, unassigned
from mkold.ir.nodes import (
    Assign,
    Binary,
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
    "by a primitive": (Op("load", ("x",), (N,)), USE),
}
UNASSIGNED = {
    "never": (USE,),
    "on one branch": (If(N, (SET,)), USE),
    "after a break": (Loop((BREAK_IF, SET)), USE),
    "skipped by continue": (Loop((If(N, (Continue(),)), SET, BREAK_IF), (USE,)),),
    "in an inner loop's break": (Loop((Loop((BREAK_IF,)), BREAK_IF)), USE),
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


WRONG = {
    "no return": {"f": function((), 1)},
    "wrong number of results": {"f": function((Return(),), 1)},
    "break outside": {"f": function((Break(),))},
    "jump in a step": {"f": function((Loop((BREAK_IF,), (Break(),)),))},
    "unknown primitive": {"f": function((Op("smp_xmb"),))},
    "arguments of a primitive": {"f": function((Op("load", ("x",)),))},
    "unknown callee": {"f": function((Call("g"),))},
    "recursion": {"f": function((Call("f", (), (ONE,)),))},
    "another name": {"g": function(())},
    "no word": {"f": function((Assign("x", Const(1 << 64)),))},
    "operator": {"f": function((Assign("x", Binary("pow", ONE, ONE)),))},
}


@pytest.mark.parametrize("functions", WRONG.values(), ids=WRONG)
def test_the_verifier_refuses(functions):
    with pytest.raises(AssertionError):
        verify(functions)


def test_the_verifier_accepts():
    verify({"f": function((Loop((BREAK_IF,)), Return((N,))), 1)})
