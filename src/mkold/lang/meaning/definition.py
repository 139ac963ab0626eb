"""A function that a front end has checked: what ``ir.module`` takes, and its types."""

from __future__ import annotations

from collections.abc import Mapping

from mkold.ir.definition import Definition
from mkold.ir.edit import rename_calls
from mkold.ir.layout import Layout
from mkold.ir.nodes import Function
from mkold.lang.meaning.builder import Uses
from mkold.lang.types.structs import FunctionPointer, Type


class Checked:
    """A checked and lowered function, or the signature of one.

    Attributes
    ----------
    name : its name in the source
    key : ``module:name``, by which the lowered form refers to it
    params, results : types of the parameters and of the results
    lowered : the function; callees by their labels
    is_hook : only the signature is here
    """

    def __init__(
        self,
        name: str,
        lowered: Function,
        type_: FunctionPointer,
        uses: Uses,
        *,
        is_hook: bool = False,
    ) -> None:
        self.name, self.key, self.lowered = name, lowered.name, lowered
        self.type, self.is_hook = type_, is_hook
        self.callees: Mapping[str, Definition] = uses.callees
        self.parameters: Mapping[str, int] = uses.parameters
        self.pointed, self.called_through = tuple(uses.pointed), tuple(uses.called_through)
        self._structs = tuple(uses.structs)

    @property
    def params(self) -> tuple[Type, ...]:
        """Types of the parameters."""
        return self.type.params

    @property
    def results(self) -> tuple[Type, ...]:
        """Types of the results."""
        return self.type.results

    @property
    def signature(self) -> str:
        """Types of parameters and results, as text."""
        return self.type.signature

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The structs it uses; laid out now, when every type they name is defined."""
        return tuple(struct.layout for struct in self._structs)

    @property
    def ir(self) -> Function:
        """The function in the intermediate form, callees under their short names."""
        calls = {label: callee.name for label, callee in self.callees.items()}
        return rename_calls(self.lowered, self.name, calls)

    def __repr__(self) -> str:
        return f"<{'hook' if self.is_hook else 'function'} {self.key}>"
