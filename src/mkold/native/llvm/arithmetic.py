"""The operators of the form in LLVM IR.

Operands are ``i64``: a register or a number. Division by zero gives 0, so do long shifts.
"""

from __future__ import annotations

from mkold.ir.algebra import Algebra
from mkold.ir.nodes import NARROW, WORD_BITS, WORD_MASK, evaluate_binary, evaluate_unary
from mkold.native.llvm.lines import Lines

COMPARE = {"eq": "eq", "ne": "ne", "ult": "ult", "ule": "ule", "slt": "slt", "sle": "sle"}
_PLAIN = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_DIVIDE = {"udiv": "udiv", "umod": "urem", "sdiv": "sdiv", "smod": "srem"}
_SHIFT = {"shl": "shl", "lshr": "lshr", "ashr": "ashr"}


def algebra(w: Lines) -> Algebra[str]:
    """Words as operands of instructions that are appended to ``w``; numbers are folded."""

    def on_one(op: str, a: str) -> str:
        return str(evaluate_unary(op, int(a))) if a.isdigit() else unary(w, op, a)

    def on_two(op: str, a: str, b: str) -> str:
        if a.isdigit() and b.isdigit():
            return str(evaluate_binary(op, int(a), int(b)))
        return a if op == "add" and b == "0" else binary(w, op, a, b)

    return Algebra(lambda n: str(n & WORD_MASK), on_one, on_two)


def unary(w: Lines, op: str, a: str) -> str:
    """``op a``."""
    if op == "neg":
        return w.name(f"sub i64 0, {a}")
    if op == "not":
        return w.name(f"xor i64 {a}, -1")
    if op == "lnot":
        return truth(w, w.name(f"icmp eq i64 {a}, 0"))
    width, signed = NARROW[op]
    return widened(w, narrowed(w, a, width), width, signed=signed)


def binary(w: Lines, op: str, a: str, b: str) -> str:
    """``a op b``."""
    if op in COMPARE:
        return truth(w, compare(w, op, a, b))
    if op in _PLAIN:
        return w.name(f"{_PLAIN[op]} i64 {a}, {b}")
    return _shift(w, op, a, b) if op in _SHIFT else _divide(w, op, a, b)


def compare(w: Lines, op: str, a: str, b: str) -> str:
    """A comparison, as an ``i1``."""
    return w.name(f"icmp {COMPARE[op]} i64 {a}, {b}")


def truth(w: Lines, condition: str) -> str:
    """An ``i1`` as 0 or 1."""
    return w.name(f"zext i1 {condition} to i64")


def narrowed(w: Lines, word: str, width: int) -> str:
    """The low bits of a word, as an integer of ``width``."""
    if width == WORD_BITS:
        return word
    if word.isdigit():
        return str(int(word) % (1 << width))
    return w.name(f"trunc i64 {word} to i{width}")


def widened(w: Lines, value: str, width: int, *, signed: bool = False) -> str:
    """An integer of ``width`` as a word."""
    if width == WORD_BITS:
        return value
    return w.name(f"{'sext' if signed else 'zext'} i{width} {value} to i64")


def _shift(w: Lines, op: str, a: str, b: str) -> str:
    if op == "ashr":
        within = w.name(f"call i64 @llvm.umin.i64(i64 {b}, i64 63)")
        return w.name(f"ashr i64 {a}, {within}")
    if b.isdigit() and int(b) < WORD_BITS:
        return w.name(f"{_SHIFT[op]} i64 {a}, {b}")
    within = w.name(f"and i64 {b}, 63")
    shifted = w.name(f"{_SHIFT[op]} i64 {a}, {within}")
    fits = w.name(f"icmp ult i64 {b}, 64")
    return w.name(f"select i1 {fits}, i64 {shifted}, i64 0")


def _divide(w: Lines, op: str, a: str, b: str) -> str:
    if b.isdigit() and 0 < int(b) < 1 << 63:
        return w.name(f"{_DIVIDE[op]} i64 {a}, {b}")
    is_zero = w.name(f"icmp eq i64 {b}, 0")
    safe = w.name(f"select i1 {is_zero}, i64 1, i64 {b}")
    if op in ("sdiv", "smod"):
        return _divide_signed(w, op, a, safe, is_zero)
    result = w.name(f"{_DIVIDE[op]} i64 {a}, {safe}")
    return w.name(f"select i1 {is_zero}, i64 0, i64 {result}")


def _divide_signed(w: Lines, op: str, a: str, b: str, is_zero: str) -> str:
    """Signed division without the trap at the most negative word over -1."""
    is_minus = w.name(f"icmp eq i64 {b}, -1")
    safe = w.name(f"select i1 {is_minus}, i64 1, i64 {b}")
    result = w.name(f"{_DIVIDE[op]} i64 {a}, {safe}")
    other = w.name(f"sub i64 0, {a}") if op == "sdiv" else "0"
    result = w.name(f"select i1 {is_minus}, i64 {other}, i64 {result}")
    return w.name(f"select i1 {is_zero}, i64 0, i64 {result}")
