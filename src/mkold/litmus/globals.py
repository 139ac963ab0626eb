"""The shared variables of a test: their addresses and first values.

A variable's address is a word address; variables lie ``SPACING`` words apart from ``BASE``
on, so that no integer a test computes is taken for an address, nor a sum of an address and
a small integer for another variable.
"""

from __future__ import annotations

BASE = 1 << 40
SPACING = 1 << 20


class Globals:
    """Addresses by name in order of first appearance, initial words, initial registers."""

    __slots__ = ("addresses", "arrays", "indexed", "init", "registers", "set_at")

    def __init__(self) -> None:
        self.addresses: dict[str, int] = {}
        self.arrays: dict[str, int] = {}
        self.init: dict[int, int] = {}
        self.registers: dict[tuple[int, str], int] = {}
        self.set_at: dict[tuple[int, str], int] = {}  # where each register is initialised
        self.indexed: list[tuple[str, int, int]] = []  # variable, index, number of its token

    def address(self, name: str) -> int:
        """The address of ``name``, a new one if it was not seen before."""
        found = self.addresses.get(name)
        if found is None:
            found = self.addresses[name] = BASE + SPACING * len(self.addresses)
        return found

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
