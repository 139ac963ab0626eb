"""Numbers: their widths and signs, and C's usual arithmetic conversions.

Rules
-----
* A number narrower than ``int`` (32 bits, signed) is promoted to ``int`` before anything
  is computed with it. Of two numbers the wider type wins; of two equally wide ones the
  unsigned. So ``u8 + u8`` is an ``int``, ``int + u32`` a ``u32``, ``u32 + s64`` an ``s64``.
* A result wraps at the width of its type, as the kernel is compiled (``-fwrapv``).
* A constant has the first of ``int``, ``u32``, ``s64``, ``u64`` that holds it, as C's
  hexadecimal constants have. Where it stands alone (the first value of a local), it is a
  ``u64``, or an ``s64`` if negative.

Known limits: no 128-bit numbers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """A number type under one of its names; ``bits`` is 1 for truth values."""

    name: str
    bits: int = 64
    signed: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def least(self) -> int:
        """The smallest number of this type."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def most(self) -> int:
        """The largest."""
        return (1 << self.bits - self.signed) - 1

    @property
    def width(self) -> int:
        """Bits that an object of this type has in memory."""
        return 64 if self.bits == 1 else self.bits

    @property
    def operator(self) -> str:
        """The unary operator of the form that cuts a word to this type; empty: none."""
        if self.bits in (1, 64):
            return ""
        return f"{'s' if self.signed else 'u'}{self.bits}"

    def holds(self, number: int) -> bool:
        """Whether ``number`` is one of this type."""
        return self.least <= number <= self.most

    def includes(self, other: Word) -> bool:
        """Whether every number of type ``other`` is one of this type."""
        return self.holds(other.least) and self.holds(other.most)

    def wraps_to(self, number: int) -> bool:
        """Whether C gives ``number`` a meaning here that nobody calls lost: it fits, or it
        is negative and fits the signed type of this width (``-1`` for all ones)."""
        return self.least <= number <= self.most or -(1 << self.bits - 1) <= number < 0


BOOL = Word("bool", 1)
U8, U16, U32, U64 = (Word(f"u{bits}", bits) for bits in (8, 16, 32, 64))
S8, S16, S32, S64 = (Word(f"s{bits}", bits, True) for bits in (8, 16, 32, 64))
INT = Word("int", 32, True)

_NAMED = {(word.bits, word.signed): word for word in (U8, U16, U32, U64, S8, S16, INT, S64)}


def canonical(word: Word) -> Word:
    """``word``, a number, under its plain name: ``atomic_t`` is an ``int``."""
    return _NAMED[word.bits, word.signed]


def promoted(word: Word) -> Word:
    """What ``word`` is computed as."""
    return INT if word.bits < INT.bits else canonical(word)


def common(a: Word, b: Word) -> Word:
    """The type of ``a op b``."""
    a, b = promoted(a), promoted(b)
    if a.bits != b.bits:
        return a if a.bits > b.bits else b
    return _NAMED[a.bits, a.signed and b.signed]


def of_constant(number: int) -> Word:
    """The type of a constant that meets another operand; a number beyond all has ``u64``."""
    for word in (INT, U32, S64):
        if word.holds(number):
            return word
    return U64


def alone(number: int) -> Word:
    """The type of a constant that meets nothing."""
    return S64 if number < 0 else U64


def is_word(number: int) -> bool:
    """Whether ``number`` fits 64 bits, with or without a sign."""
    return S64.least <= number <= U64.most
