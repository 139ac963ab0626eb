"""Passes over functions: binding, folding, renaming, rewriting statements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkold.base.errors import InputError
from mkold.ir.edit import bind, fold, map_statements, rename_calls
from mkold.ir.interpret import evaluate
from mkold.ir.nodes import (
    BINARY,
    UNARY,
    Assign,
    Binary,
    Call,
    CallRcu,
    Const,
    Function,
    If,
    Local,
    Loop,
    Op,
    Param,
    Return,
    Select,
    Unary,
)

words = st.integers(0, (1 << 64) - 1) | st.integers(0, 70)
leaves = words.map(Const) | st.sampled_from([Local("x"), Param("P")])
expressions = st.recursive(
    leaves,
    lambda e: st.one_of(
        st.builds(Unary, st.sampled_from(sorted(UNARY)), e),
        st.builds(Binary, st.sampled_from(sorted(BINARY)), e, e),
        st.builds(Select, e, e, e),
    ),
    max_leaves=12,
)


@given(expressions, words, words)
def test_folding_changes_no_value(expr, x, p):
    bound = fold(expr, {"P": p})
    assert evaluate(bound, {"x": x}) == _value(expr, x, p)


def _value(expr, x: int, p: int) -> int:
    from mkold.ir.nodes import evaluate_binary, evaluate_unary

    match expr:
        case Const(value):
            return value
        case Local():
            return x
        case Param():
            return p
        case Unary(op, a):
            return evaluate_unary(op, _value(a, x, p))
        case Binary(op, a, b):
            return evaluate_binary(op, _value(a, x, p), _value(b, x, p))
        case Select(cond, a, b):
            return _value(a if _value(cond, x, p) else b, x, p)


def test_bind_reaches_every_expression():
    p = Param("P")
    body = (
        Assign("x", p),
        Op("store", (), (p, p)),
        Call("g", (), (p,)),
        CallRcu("g", p),
        If(p, (Assign("x", p),), (Loop((Assign("x", p),), (Assign("x", p),)),)),
        Return((p,)),
    )
    functions = {"f": Function("f", (), body, 1)}
    bound = bind(functions, {"P": 7})
    assert "Param" not in repr(bound)
    assert repr(bound).count("value=7") == 10
    assert functions["f"].body == body
    with pytest.raises(InputError, match="P has no value"):
        bind(functions, {})


def test_a_word_has_no_bits_for_more_words_than_64():
    def reading(n: Param | Const) -> dict[str, Function]:
        read = Op("READ_ONCE_WHICH", ("x",), (Const(4096), n, Const(1)), "p.words")
        return {"f": Function("f", (), (read, Return((Local("x"),))), 1)}

    bind(reading(Param("BLOCK")), {"BLOCK": 64})
    with pytest.raises(InputError, match=r"READ_ONCE_WHICH of 65 words, .* 64 bits; BLOCK"):
        bind(reading(Param("BLOCK")), {"BLOCK": 65})
    with pytest.raises(InputError, match=r"a word has 64 bits$"):
        bind(reading(Const(1 << 40)), {})


def test_calls_are_renamed_at_every_depth():
    inner = (Call("a"), CallRcu("b", Const(1)))
    f = Function("f", (), (If(Const(1), inner, inner), Loop(inner, inner)))
    renamed = rename_calls(f, "g", {"a": "x", "b": "y"})
    assert renamed.name == "g"
    assert repr(renamed).count("'x'") == repr(renamed).count("'y'") == 4
    assert "'a'" not in repr(renamed)


def test_statements_are_replaced_or_dropped():
    body = (Op("smp_mb"), Loop((Op("smp_mb"), Op("smp_rmb"))))

    def change(stmt):
        return () if stmt == Op("smp_mb") else None

    assert map_statements(body, change) == (Loop((Op("smp_rmb"),)),)
