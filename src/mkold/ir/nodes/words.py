"""Words and their arithmetic: the one definition of every operator."""

from __future__ import annotations

from collections.abc import Callable

WORD_BITS = 64
WORD_MASK = (1 << WORD_BITS) - 1

# What a freed word holds, and one that was given out and nobody has written yet
# (include/linux/poison.h).
POISON_FREE = 0x6B6B6B6B6B6B6B6B
POISON_INUSE = 0x5A5A5A5A5A5A5A5A

# Narrow words live in the front ends, as 64-bit words: "u8" keeps the low 8 bits, "s8" keeps
# them and repeats their sign. Each by its width and whether it is signed.
NARROW = {"u8": (8, False), "u16": (16, False), "u32": (32, False),
          "s8": (8, True), "s16": (16, True), "s32": (32, True)}  # fmt: skip
UNARY = frozenset({"neg", "not", "lnot", *NARROW})
BINARY = frozenset(
    [
        "add",
        "sub",
        "mul",
        "udiv",
        "umod",
        "sdiv",
        "smod",
        "and",
        "or",
        "xor",
        "shl",
        "lshr",
        "ashr",
        "eq",
        "ne",
        "ult",
        "ule",
        "slt",
        "sle",
    ]
)


def evaluate_unary(op: str, a: int) -> int:
    """The one definition of unary arithmetic, on words."""
    return _UNARY[op](a) & WORD_MASK


def evaluate_binary(op: str, a: int, b: int) -> int:
    """The one definition of binary arithmetic, on words."""
    return _BINARY[op](a, b) & WORD_MASK


def _signed(a: int, width: int = WORD_BITS) -> int:
    return a - (1 << width) if a >> (width - 1) else a


def _narrow(width: int, *, signed: bool) -> Callable[[int], int]:
    mask = (1 << width) - 1
    return (lambda a: _signed(a & mask, width)) if signed else (lambda a: a & mask)


def _sdiv(a: int, b: int) -> int:
    x, y = _signed(a), _signed(b)
    if y == 0:
        return 0
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


def _smod(a: int, b: int) -> int:
    return 0 if b == 0 else _signed(a) - _signed(b) * _sdiv(a, b)


_UNARY: dict[str, Callable[[int], int]] = {
    "neg": lambda a: -a,
    "not": lambda a: ~a,
    "lnot": lambda a: int(a == 0),
    **{op: _narrow(width, signed=signed) for op, (width, signed) in NARROW.items()},
}
_BINARY: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "udiv": lambda a, b: a // b if b else 0,
    "umod": lambda a, b: a % b if b else 0,
    "sdiv": _sdiv,
    "smod": _smod,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b if b < WORD_BITS else 0,
    "lshr": lambda a, b: a >> b if b < WORD_BITS else 0,
    "ashr": lambda a, b: _signed(a) >> min(b, WORD_BITS - 1),
    "eq": lambda a, b: int(a == b),
    "ne": lambda a, b: int(a != b),
    "ult": lambda a, b: int(a < b),
    "ule": lambda a, b: int(a <= b),
    "slt": lambda a, b: int(_signed(a) < _signed(b)),
    "sle": lambda a, b: int(_signed(a) <= _signed(b)),
}
