"""Kernel Python as machine code.

``link``         closes functions over the kernel Python that implements locks and RCU
``codegen``      the intermediate form to LLVM IR text: control flow and arithmetic
``accesses``     ... and each primitive's instruction
``runtime``      the few lines of LLVM IR that every image holds
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
