"""Kernel Python given as text: generated programs, and tests."""

from __future__ import annotations

import itertools
import linecache
import types
from typing import Any

from mkold.base.errors import InputError, Pos
from mkold.lang.meaning.source import Source

_TEXTS = itertools.count()


def compile_text(text: str, name: str = "") -> dict[str, Any]:
    """Run a module of kernel Python given as text; its names.

    For generated programs and tests; errors point into the text, under ``name``.

    Raises
    ------
    SourceError : it is no Python, or outside of kernel Python
    InputError : it is deeper than Python's own compiler goes
    """
    file = name or f"<kernel-python-{next(_TEXTS)}>"
    lines = text.splitlines(keepends=True)
    linecache.cache[file] = (len(text), None, lines, file)
    module = types.ModuleType(file.strip("<>"))
    try:
        code = compile(text, file, "exec")
    except SyntaxError as error:
        at = Pos(file, error.lineno or 1, error.offset or 1)
        raise Source(file, tuple(lines)).error(at, f"no Python: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise InputError(f"{file}: an expression is too deep for Python's compiler") from None
    exec(code, module.__dict__)
    return module.__dict__
