"""Mutated tests: whatever comes in, only clean errors go out, and soon."""

from __future__ import annotations

import re
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.base.errors import InputError, UnsupportedError
from mkold.ir.verify import verify
from mkold.litmus import parse, write

TEXTS = [path.read_text() for path in (Path(__file__).parent / "vectors").glob("*.litmus")]
TOKENS = sorted({token for text in TEXTS for token in re.findall(r"\w+|\S", text)})


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A test of ours with pieces dropped, doubled, moved or put in."""
    pieces = re.findall(r"\w+|\s+|.", draw(st.sampled_from(TEXTS)), re.S)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(pieces) - 1)))
        change = draw(st.sampled_from(["drop", "double", "insert", "cut", "swap"]))
        if change == "drop":
            del pieces[at : at + 1]
        elif change == "double":
            pieces[at:at] = pieces[at : at + draw(st.integers(1, 20))]
        elif change == "insert":
            pieces.insert(at, draw(st.sampled_from([*TOKENS, "\0", "(*", "*)", "é", '"'])))
        elif change == "cut":
            del pieces[at:]
        else:
            other = draw(st.integers(0, max(0, len(pieces) - 1)))
            pieces[at : at + 1], pieces[other : other + 1] = (
                pieces[other : other + 1], pieces[at : at + 1],
            )  # fmt: skip
    return "".join(pieces)


def must_be_clean(text: str) -> None:
    began = time.process_time()
    try:
        program = parse(text, "fuzz")
        verify(program.functions)
        again = parse(write(program))
        verify(again.functions)
    except (InputError, UnsupportedError):  # the latter of what it can't write
        pass
    assert time.process_time() - began < 2


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_mutated_tests(text: str) -> None:
    must_be_clean(text)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("CP0 {}()[]*&=;:,/\\~!<>|^-+x1r\n"), max_size=200))
def test_any_characters(text: str) -> None:
    must_be_clean("C t\n{}\nP0(int *x)\n{\n" + text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=100))
def test_any_text(text: str) -> None:
    must_be_clean(text)
