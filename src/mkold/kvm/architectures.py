"""The architectures there are: one line each, the module that describes it.

Nothing of an architecture is loaded before it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mkold.base.errors import UsageError

if TYPE_CHECKING:
    from mkold.kvm.machine import Architecture

ARCHITECTURES = {
    "powerpc": "mkold.kvm.powerpc.machine",
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
    found: Architecture = importlib.import_module(ARCHITECTURES[name]).machine
    return found
