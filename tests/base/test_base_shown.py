"""Foreign text is shown, never obeyed."""

from __future__ import annotations

import sys
import unicodedata

from mkold.base.errors import Pos, SourceError
from mkold.base.shown import shown


def test_escapes_are_readable() -> None:
    assert shown("a\x1b[31m\r\n\x9b\u202e") == r"a\x1b[31m\x0d\x0a\x9b\u202e"
    assert shown("grün 中 ✓") == "grün 中 ✓"


def test_a_name_that_is_not_utf8() -> None:
    assert shown(b"a\xff".decode("utf-8", "surrogateescape")) == r"a\xff"


def test_kept_and_cut() -> None:
    assert shown("a\nb\t", keep="\n") == "a\nb\\x09"
    assert shown("x" * 50, most=10) == "x" * 7 + "..."


def test_no_control_character_gets_through() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    left = {unicodedata.category(c) for c in shown(every)}
    assert not left & {"Cc", "Cs", "Zl", "Zp"}


def test_an_excerpt_is_escaped_and_the_caret_stays_below() -> None:
    error = SourceError("no\x07", Pos("a\x1b.py", 1, 3, 5), "\x1b[xy")
    assert str(error).splitlines() == [
        r"a\x1b.py:1:3: error: no\x07",
        r"    \x1b[xy",
        r"         ^^",
    ]
