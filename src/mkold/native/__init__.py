"""Kernel Python as machine code.

``llvm``         the form as LLVM IR text
``compile``      LLVM IR to object code and into the process
``cache``        object code on disk, by content
``memory``       the flat memory
``image``        built functions, called on a memory
``diagnostics``  what BUG_ON, WARN_ON_ONCE and the checked build recorded

Imports ``ir``; LLVM is loaded by the first build only.
"""

from __future__ import annotations

from mkold.native.diagnostics import Finding, KernelBugError, StoppedError, diagnose
from mkold.native.image import Image, build
from mkold.native.memory import Memory

__all__ = [
    "Finding",
    "Image",
    "KernelBugError",
    "Memory",
    "StoppedError",
    "build",
    "diagnose",
]
