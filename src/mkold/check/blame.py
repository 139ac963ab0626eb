"""Errors of a user's code at the user's line, not in a traceback of ours.

A scenario's setup, its tests and a claims file are ordinary Python that mkold calls. What
they raise is bad input, and is said with the file and line; what mkold raises by itself
stays as it is.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from mkold.base.errors import InputError, MkoldError

_PACKAGE = Path(__file__).resolve().parents[1]


@contextmanager
def users_code(what: str = "") -> Iterator[None]:
    """Turn errors of the code within into ``InputError`` with file and line.

    Raises
    ------
    InputError : code outside mkold failed; ``what`` says what it was to do
    """
    said = f"{what}: " if what else ""
    try:
        yield
    except MkoldError:
        raise
    except SyntaxError as error:
        place = f"{error.filename}:{error.lineno}"
        raise InputError(f"{place}: {said}{error.msg}") from error
    except Exception as error:
        place = _place(error.__traceback__)
        if not place:
            raise
        text = f"{type(error).__name__}: {error}"
        raise InputError(f"{place}: {said}{text}") from error


def _place(trace: TracebackType | None) -> str:
    """The innermost frame outside mkold, after the first that is mkold's own."""
    for frame in reversed(traceback.extract_tb(trace)):
        path = Path(frame.filename)
        ours = _PACKAGE in path.parents and "claims" not in path.parts
        if not ours and not frame.filename.startswith("<frozen"):
            return f"{frame.filename}:{frame.lineno}"
    return ""
