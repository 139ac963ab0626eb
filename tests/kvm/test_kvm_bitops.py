"""Single bits of a word: what they give, and that a processor does each in one instruction."""

import platform
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mkold.ir.boot import BOOT_WORDS
from mkold.kvm.bitops import __ffs as ffs
from mkold.kvm.bitops import hweight64
from mkold.native import Memory, build

IMAGE = build([ffs, hweight64])
MEMORY = Memory(BOOT_WORDS)


@given(st.integers(0, (1 << 64) - 1), st.integers(0, 63))
@example(0, 0)
@example((1 << 64) - 1, 63)
def test_they_count_bits(word: int, shift: int) -> None:
    word = word << shift & (1 << 64) - 1
    assert IMAGE.call("hweight64", MEMORY, 0, word) == word.bit_count()
    lowest = (word & -word).bit_length() - 1 if word else 64
    assert IMAGE.call("__ffs", MEMORY, 0, word) == lowest


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the assembly is x86-64's")
def test_they_are_an_instruction_each() -> None:
    text = IMAGE.assembly()
    assert re.search(r"tzcnt|bsf", text)
    assert "imul" not in text.split("entry.hweight64")[0]
