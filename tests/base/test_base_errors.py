"""Errors: exit codes, text with a caret, and pickling."""

from __future__ import annotations

import pickle

import pytest

from mkold.base.errors import (
    Exit,
    InputError,
    LimitError,
    MkoldError,
    Pos,
    SourceError,
    UnsupportedError,
    UsageError,
)

SOURCE = SourceError("no such name", Pos("a.py", 3, 5, 8), "x = foo(1)\n", "define it first")


def test_source_error_shows_line_caret_and_hint() -> None:
    assert str(SOURCE).splitlines() == [
        "a.py:3:5: error: no such name",
        "    x = foo(1)",
        "        ^^^",
        "  hint: define it first",
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), Exit.USAGE),
        (InputError("x"), Exit.BAD_INPUT),
        (SOURCE, Exit.BAD_INPUT),
        (UnsupportedError("x"), Exit.BAD_INPUT),
        (LimitError("x"), Exit.UNDECIDED),
    ],
)
def test_exit_codes_and_pickling(error: MkoldError, code: Exit) -> None:
    assert error.exit_code == code
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
