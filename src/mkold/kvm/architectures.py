"""The architectures there are: one line each, the module and the value that describes it.

One folder may describe several machines.

Nothing of an architecture is loaded before it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mkold.base.errors import UsageError

if TYPE_CHECKING:
    from mkold.kvm.machine import Architecture

ARCHITECTURES = {
    "powerpc": "mkold.kvm.powerpc.machine:machine",
    "x86": "mkold.kvm.x86.machine:machine",
    "x86-noad": "mkold.kvm.x86.machine:noad",
    "arm64": "mkold.kvm.arm64.machine:machine",
    "arm64-swaf": "mkold.kvm.arm64.machine:swaf",
    "x86-shadow": "mkold.kvm.x86.machine:shadow",
}


def architecture(name: str) -> Architecture:
    """The architecture that is called ``name``.

    Raises
    ------
    UsageError : there is none; lists those there are
    """
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UsageError(f"there is no architecture {name}; there are: {known}")
    module, _, value = ARCHITECTURES[name].partition(":")
    found: Architecture = getattr(importlib.import_module(module), value)
    return found
