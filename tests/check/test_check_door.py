"""What the door lets in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mkold.lkmm
from mkold.base.errors import InputError
from mkold.check import door
from mkold.check.properties import PROPERTIES, WARNINGS


@dataclass(frozen=True)
class Signed:
    """A function of a front end with narrow parameters."""

    name: str = "f"
    key: str = "m:f"
    signature: str = "(Ptr[Box], u8, s16, Fn[[Ptr[Box], s8], u64]) -> u64"
    lowered: object = field(
        default_factory=lambda: SimpleNamespace(params=("b", "u", "s", "f"))
    )


WORD, BYTE = (1 << 64) - 1, (1 << 8) - 1


@given(st.integers(-(1 << 66), 1 << 66), st.integers(-300, 300), st.integers(-40000, 40000))
def test_words_lie_in_the_range_of_their_type(word: int, small: int, signed: int) -> None:
    fits = 0 <= word <= WORD and 0 <= small <= BYTE and -(1 << 15) <= signed < 1 << 15
    try:
        found = door.words(Signed(), (word, small, signed, word))
    except InputError:
        assert not fits
    else:
        assert fits
        assert found == (word, small, signed, word)


@pytest.mark.parametrize("value", [True, 7, __import__("numpy").int64(7)])
def test_whole_numbers_of_any_kind(value: object) -> None:
    assert door.word("it", value) == int(value)


def test_every_flag_of_the_engines_is_a_property() -> None:
    """What an engine can raise has a sentence, and a name that ``ignore`` may use."""
    texts = [path.read_text() for path in Path(mkold.lkmm.__file__).parent.rglob("*.py")]
    raised = {
        flag
        for text in texts
        for flag in re.findall(r'(?:flag|flags\.add|Check|_once_each)\([^()]*"([a-z-]+)"', text)
    }
    assert len(raised) >= 12
    assert raised <= {*PROPERTIES, *WARNINGS}
    assert set(mkold.lkmm.verdict.OWN_FLAGS) <= set(PROPERTIES)


@pytest.mark.parametrize("sign", ["\x1b]0;x\x07", "\x00", "\ud800", "\u202e"])
def test_names_can_not_drive_a_terminal(sign: str) -> None:
    with pytest.raises(InputError, match="control character") as caught:
        door.text("a name", f"x{sign}")
    assert sign not in str(caught.value)


class Unspeakable:
    def __repr__(self) -> str:
        raise ValueError


UNSPEAKABLE = {"class": Unspeakable(), "int": 10**5000, "list": [10**5000]}


@pytest.mark.parametrize("value", UNSPEAKABLE.values(), ids=UNSPEAKABLE)
def test_any_value_can_be_named(value: object) -> None:
    with pytest.raises(InputError, match="not a value of"):
        door.text("a name", value)
    if isinstance(value, int):
        with pytest.raises(InputError, match="and is a value of int"):
            door.word("a word", value)


def test_an_answer_that_is_neither() -> None:
    with pytest.raises(InputError, match="must give True or False: The truth value"):
        door.answer("the test of x", __import__("numpy").zeros(2), None)
