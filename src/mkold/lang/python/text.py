"""Kernel Python given as text: generated programs, and tests."""

from __future__ import annotations

import itertools
import linecache
import types
from typing import Any

_TEXTS = itertools.count()


def compile_text(text: str, name: str = "") -> dict[str, Any]:
    """Run a module of kernel Python given as text; its names.

    For generated programs and tests; errors point into the text, under ``name``.
    """
    file = name or f"<kernel-python-{next(_TEXTS)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = types.ModuleType(file.strip("<>"))
    exec(compile(text, file, "exec"), module.__dict__)
    return module.__dict__
