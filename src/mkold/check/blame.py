"""Errors of somebody else's code at its own line, not in a traceback of ours.

A scenario's setup, its tests and a claims file are ordinary Python that mkold calls, and
that calls mkold. What goes wrong in it, and what it hands over that makes no sense, is bad
input: said with file, line and caret. Claims that ship with mkold count as such code.
"""

from __future__ import annotations

import linecache
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from mkold.base.errors import InputError, LimitError, MkoldError, Pos, SourceError

_PACKAGE = Path(__file__).resolve().parents[1]
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib"))


def here() -> Pos | None:
    """Where the innermost code outside mkold stands that is running now."""
    frame = sys._getframe(1)
    while _is_ours(frame.f_code.co_filename):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    positions = islice(frame.f_code.co_positions(), frame.f_lasti // 2, None)
    line, end_line, start, end = next(positions, (None, None, None, None))
    known = line or frame.f_lineno
    return _pos(frame.f_code.co_filename, known, end_line or known, start, end)


def wrong(reason: str, *, hint: str = "", at: Pos | None = None) -> InputError:
    """The error that blames ``at``, or else the code that is calling mkold."""
    found = at or here()
    if found is None:
        return InputError(f"{reason}\n  hint: {hint}" if hint else reason)
    linecache.checkcache(found.file)
    return SourceError(reason, found, linecache.getline(found.file, found.line), hint)


@contextmanager
def blamed(at: Pos | None) -> Iterator[None]:
    """Say of what was found later where it was written.

    Raises
    ------
    InputError : bad input found within, now at ``at``, unless it knows a place of its own
    """
    try:
        yield
    except SourceError:
        raise
    except InputError as error:
        if at is None:
            raise
        raise wrong(str(error), at=at) from error


@contextmanager
def users_code(what: str = "", at: Pos | None = None) -> Iterator[None]:
    """Turn errors of the code within into ``InputError`` with file, line and caret.

    Raises
    ------
    InputError : code outside mkold failed; ``what`` says what it was to do, ``at`` where it
        stands if no line of its own is to blame
    """
    said = f"{what}: " if what else ""
    try:
        yield
    except (SourceError, LimitError, MemoryError):
        raise
    except SyntaxError as error:
        raise _syntax(error, at) from error
    except SystemExit as error:
        raise _blamed_on(error, f"{said}sys.exit() ends it", at) from error
    except MkoldError as error:
        raise _blamed_on(error, f"{said}{error}", at) from error
    except KeyboardInterrupt:
        raise
    except RecursionError as error:
        text = (
            f"{said}too deep: Python's limit of calls or expressions in each other is reached"
        )
        raise _blamed_on(error, text, at) from error
    except BaseException as error:
        text = f"{said}{type(error).__name__}: {_text(error)}".rstrip(": ")
        raise _blamed_on(error, f"{text}{_inside(error)}", at) from error


def _inside(error: BaseException) -> str:
    """Of an error that mkold's own code came to, where: it should have been refused sooner."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not _is_in(frames[-1].filename, [_PACKAGE / "check"]):
        return ""
    return f" (in mkold, {Path(frames[-1].filename).name}:{frames[-1].lineno})"


def _text(error: BaseException) -> str:
    """What an error says, one of anybody's: its ``__str__`` may raise too."""
    try:
        return str(error)
    except Exception as other:
        return f"its text can't be made: {type(other).__name__}"


def _blamed_on(error: BaseException, reason: str, at: Pos | None) -> BaseException:
    found = place(error) or at
    return error if found is None else wrong(reason, at=found)


def _syntax(error: SyntaxError, at: Pos | None) -> SourceError:
    line, start = error.lineno or 1, error.offset or 1
    end = error.end_offset if error.end_lineno == line and error.end_offset else 0
    place = Pos(error.filename or (at.file if at else "?"), line, start, end)
    return SourceError(error.msg, place, (error.text or "").rstrip("\n"))


def place(error: BaseException) -> Pos | None:
    """Where ``error`` was raised: the innermost frame outside mkold, outside libraries too if
    there is one."""
    trace = traceback.extract_tb(error.__traceback__)
    found = [f for f in trace if not _is_ours(f.filename)]
    own = [f for f in found if not _is_in(f.filename, _LIBRARIES)] or found
    if not own:
        return None
    last = own[-1]
    line = last.lineno or 1
    return _pos(last.filename, line, last.end_lineno or line, last.colno, last.end_colno)


def _pos(file: str, line: int, end_line: int, start: int | None, end: int | None) -> Pos:
    """A place from what Python knows: columns in bytes, counted from 0."""
    text = linecache.getline(file, line).encode()
    col = len(text[: start or 0].decode(errors="replace")) + 1
    if end is None or end_line != line:
        end = len(text.rstrip())
    return Pos(file, line, col, len(text[:end].decode(errors="replace")) + 1)


def _is_ours(file: str) -> bool:
    if file.startswith("<"):  # made by dataclasses or by the import system
        return True
    return _is_in(file, [_PACKAGE]) and not _is_in(file, [_PACKAGE / "claims"])


def _is_in(file: str, folders: Iterable[Path]) -> bool:
    return any(folder in Path(file).parents for folder in folders)
