"""Each operator gives one word: evaluated, folded, as machine code, in the model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.ir.boot import BOOT_WORDS
from mkold.ir.edit import fold
from mkold.ir.interpret import evaluate
from mkold.ir.nodes import (
    BINARY,
    NARROW,
    UNARY,
    WORD_MASK,
    Assign,
    Binary,
    Const,
    Expr,
    Function,
    Local,
    Op,
    Return,
    Unary,
)
from mkold.ir.program import Program, Reg, Thread
from mkold.ir.text import expr_text
from mkold.lkmm import decide
from mkold.native import Memory
from mkold.native.image import Image

A, B = Local("a"), Local("b")
OPERATORS: dict[str, Expr] = {op: Unary(op, A) for op in sorted(UNARY)}
OPERATORS |= {op: Binary(op, A, B) for op in sorted(BINARY)}

edges = [1 << bit for bit in (0, 6, 7, 8, 15, 16, 31, 32, 62, 63)]
words = st.one_of(
    st.sampled_from(edges).flatmap(lambda n: st.integers(n - 1, n + 1)),
    st.integers(0, WORD_MASK),
    st.integers(WORD_MASK - 2, WORD_MASK),
)


@pytest.fixture(scope="module")
def image() -> Image:
    functions = {
        op: Function(op, ("a", "b"), (Return((expr,)),), 1) for op, expr in OPERATORS.items()
    }
    return Image(functions, list(functions), checked=False)


@pytest.fixture(scope="module")
def memory() -> Memory:
    return Memory(BOOT_WORDS)


@pytest.mark.parametrize("op", OPERATORS)
@settings(deadline=None)  # the first brings the engine in
@given(words, words)
def test_every_reading_gives_the_same_word(
    image: Image, memory: Memory, op: str, a: int, b: int
) -> None:
    expr = OPERATORS[op]
    word = evaluate(expr, {"a": a, "b": b})
    assert 0 <= word <= WORD_MASK
    assert image.call(op, memory, 0, a, b) == word
    known = Unary(op, Const(a)) if op in UNARY else Binary(op, Const(a), Const(b))
    assert fold(known, {}) == Const(word)
    assert tuple(decide(_read_first(expr, a, b)).states) == ((word,),)


def _read_first(expr: Expr, a: int, b: int) -> Program:
    """The operator over words that are read, so that the model can't fold it away."""
    body = (
        Op("READ_ONCE", ("a",), (Const(4096),)),
        Op("READ_ONCE", ("b",), (Const(4097),)),
        Assign("r", expr),
        Return(),
    )
    return Program(
        "operator",
        {"P0": Function("P0", (), body)},
        (Thread("P0", "P0"),),
        init={4096: a, 4097: b},
        observed=(Reg(0, "r"),),
    )


@pytest.mark.parametrize("op", NARROW)
@given(words)
def test_a_narrow_word_is_cut_then_extended(op: str, a: int) -> None:
    width, signed = NARROW[op]
    word = evaluate(Unary(op, Const(a)), {})
    assert word % (1 << width) == a % (1 << width)
    as_signed = word - (1 << 64) if word >> 63 else word
    low = -(1 << width - 1) if signed else 0
    assert low <= as_signed < low + (1 << width)


def test_narrow_words_read_like_casts() -> None:
    assert expr_text(Unary("s8", Binary("add", A, B))) == "(s8)(a + b)"
