"""``@declare``: a kernel function whose definition another room gives.

Where the kernel calls up through a table of operations (the MMU notifiers call KVM), the
lower room declares the function's signature and names the module that defines it; the
definition is looked up when a program is collected, so the import arrow between the rooms
keeps its one direction.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from mkold.base.errors import InputError
from mkold.lang.meaning.builder import Uses
from mkold.lang.python.decorate import hook
from mkold.lang.python.objects import KernelFunction


class DeclaredFunction(KernelFunction):
    """Signature here, definition at ``key`` (``module:name``)."""

    def __init__(self, wrapped: Callable[..., Any], key: str) -> None:
        signature = hook(wrapped)
        super().__init__(wrapped, signature.lowered, signature.type, Uses())
        self.key = key

    @property
    def definition(self) -> KernelFunction:
        """The function that ``key`` names.

        Raises
        ------
        InputError : there is none, or its signature has another shape
        """
        module, name = self.key.split(":")
        found = getattr(importlib.import_module(module), name, None)
        if not isinstance(found, KernelFunction):
            raise InputError(f"{self.name} is declared as {self.key}, which is not there")
        if (len(found.params), len(found.results)) != (len(self.params), len(self.results)):
            raise InputError(f"{self.key} does not fit its declaration {self.name}")
        return found


def declare(key: str) -> Callable[[Callable[..., Any]], DeclaredFunction]:
    """Declare the decorated signature; ``key`` is ``module:name`` of the definition."""

    def wrap(function: Callable[..., Any]) -> DeclaredFunction:
        return DeclaredFunction(function, key)

    return wrap
