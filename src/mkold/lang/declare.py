"""``@declare``: a kernel function whose definition another room gives.

The language has no function pointers. Where the kernel calls up through a table of
operations (the MMU notifiers call KVM), the lower room declares the function's signature
and names the module that defines it; the definition is looked up when a program is
collected, so the import arrow between the rooms keeps its one direction.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from mkold.base.errors import InputError
from mkold.lang.annotations import from_object
from mkold.lang.kernel import KernelFunction


class DeclaredFunction(KernelFunction):
    """Signature here, definition at ``key`` (``module:name``)."""

    __slots__ = ()

    def __init__(self, wrapped: Callable[..., Any], key: str) -> None:
        scope = sys.modules[wrapped.__module__].__dict__
        hints = dict(wrapped.__annotations__)
        result = hints.pop("return", None)
        self.__wrapped__ = wrapped
        self.__doc__ = wrapped.__doc__
        self.name = wrapped.__name__
        self.key = key
        self.params = tuple(from_object(hint, scope) for hint in hints.values())
        none = result in (None, "None")
        self.results = () if none else (from_object(result, scope),)

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
