"""Kernel Python as machine code.

``link``         closes functions over the kernel Python that implements locks and RCU
``codegen``      the intermediate form to LLVM IR text: functions, control flow
``writer``       ... one function being written: locals, expressions, failing
``lines``        ... ... its text
``arithmetic``   ... the operators
``accesses``     ... each primitive's instructions: loads, stores, fences, checks
``place``        ... ... where in memory one goes
``updates``      ... ... read-modify-writes
``vectors``      ... ... many words at once
``checks``       ... ... what the checked build looks at
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
