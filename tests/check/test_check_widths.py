"""What a setup pokes into a word is what a field of its type can hold."""

from __future__ import annotations

import pytest

from mkold.base.errors import SourceError
from mkold.check import Setup
from mkold.ir.program import POISON
from mkold.lang import Array, Ptr, Struct, atomic_long_t, atomic_t, s8, u8, u64

ONES = (1 << 64) - 1


class Inner(Struct):
    byte: u8
    sign: s8


class Outer(Struct):
    count: atomic_t
    long: atomic_long_t
    parts: Array[Inner, 2]
    bytes: Array[u8, 3]
    next: Ptr[u64]


FITS = {
    ("count", 0, (1 << 31) - 1): (1 << 31) - 1,
    ("count", 0, ONES): ONES,
    ("count", 0, (1 << 32) - 1): ONES,  # -1 as 32 bits
    ("count", 0, POISON): POISON,
    ("long", 0, 1 << 40): 1 << 40,
    ("parts", 2, 255): 255,
    ("parts", 3, 128): ONES - 127,
    ("bytes", 2, 255): 255,
    ("next", 0, 1 << 40): 1 << 40,
}


@pytest.mark.parametrize(("field", "word", "value"), FITS)
def test_it_fits(field: str, word: int, value: int) -> None:
    m = Setup({})
    at = m.new(Outer, "outer", count=2) + Outer.size + Outer.offset(field) + word
    m.poke(at, value)
    assert m.peek(at) == FITS[field, word, value]


@pytest.mark.parametrize(
    ("field", "word", "value", "where", "hint"),
    [
        ("count", 0, 1 << 32, "outer.count (atomic_t)", "atomic_t has 32 bits; atomic_long_t"),
        ("parts", 2, 256, "outer.parts[1].byte (u8)", "u8 has 8 bits"),
        ("parts", 3, 256, "outer.parts[1].sign (s8)", "s8 has 8 bits"),
        ("bytes", 1, ONES, "outer.bytes[1]", "8 bits"),
    ],
)
def test_it_does_not_fit(field: str, word: int, value: int, where: str, hint: str) -> None:
    m = Setup({})
    at = m.new(Outer, "outer") + Outer.offset(field) + word
    with pytest.raises(SourceError) as caught:
        m.poke(at, value)
    assert caught.value.pos.file == __file__
    assert caught.value.reason.startswith(f"{value} does not fit {where}")
    assert hint in caught.value.hint
