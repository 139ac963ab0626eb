"""What a front end hands over, a function at a time; and the word that stands for one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from mkold.ir.layout import Layout
from mkold.ir.nodes import Function, FunctionWord


class Definition(Protocol):
    """A checked function of some front end, or a hook."""

    @property
    def key(self) -> str:
        """``module:name``."""

    @property
    def name(self) -> str:
        """What the source calls it."""

    @property
    def signature(self) -> str:
        """Types of parameters and results; functions that may stand for each other have
        the same."""

    @property
    def is_hook(self) -> bool:
        """Whether only the signature is here."""

    @property
    def lowered(self) -> Function:
        """The function; calls name entries of ``callees``. A hook's body is empty."""

    @property
    def callees(self) -> Mapping[str, Definition]:
        """Whatever it calls or hands on."""

    @property
    def pointed(self) -> Collection[str]:
        """Those of ``callees`` whose address it takes (``FunctionWord``)."""

    @property
    def called_through(self) -> Collection[str]:
        """Signatures of the pointers through which it calls (``CallPtr``)."""

    @property
    def parameters(self) -> Mapping[str, int]:
        """The build parameters it uses, and their defaults."""

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The structs it uses."""


def word_of(definition: Definition) -> int:
    """The word that stands for a function: what a pointer to it holds."""
    return FunctionWord("", definition.key).word
