"""The shared variables of a test: their addresses and first values.

A variable's address is a word address; variables lie ``SPACING`` words apart from ``BASE``
on: numbers that no test computes, so that no integer is taken for an address, nor a sum of
an address and a small integer for another variable. They fit into an ``int``, in which
litmus tests like to keep them.
"""

from __future__ import annotations

from mkold.base.errors import LimitError
from mkold.litmus.types import INT, Type

BASE = 1_374_351_363
SPACING = 65_543
MAX_VARIABLES = 10_000


class Globals:
    """Addresses by name in order of first appearance, initial words, initial registers."""

    __slots__ = ("addresses", "arrays", "indexed", "init", "registers", "set_at", "types")

    def __init__(self) -> None:
        self.addresses: dict[str, int] = {}
        self.arrays: dict[str, int] = {}
        self.types: dict[str, Type] = {}
        self.init: dict[int, int] = {}
        self.registers: dict[tuple[int, str], int] = {}
        self.set_at: dict[tuple[int, str], int] = {}  # where each register is initialised
        self.indexed: list[tuple[str, int, int]] = []  # variable, index, number of its token

    def address(self, name: str) -> int:
        """The address of ``name``, a new one if it was not seen before."""
        found = self.addresses.get(name)
        if found is None:
            number = len(self.addresses)
            if number == MAX_VARIABLES:
                raise LimitError(f"more than {MAX_VARIABLES} variables")
            found = self.addresses[name] = BASE + SPACING * number
        return found

    def objects(self) -> dict[int, Type]:
        """Every word that there is, with the type of its object."""
        return {
            address + i: self.types.get(name, INT)
            for name, address in self.addresses.items()
            for i in range(self.length(name))
        }

    def length(self, name: str) -> int:
        """How many words the variable ``name`` has."""
        return self.arrays.get(name, 1)

    def symbols(self) -> dict[str, int]:
        """Names for addresses, array elements included: an array's start has two."""
        names = dict(self.addresses)
        for name, length in self.arrays.items():
            base = names[name]
            names.update((f"{name}[{i}]", base + i) for i in range(length))
        return names
