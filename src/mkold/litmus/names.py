"""Words, places and formulas in herd7's notation.

Values that are addresses print as the variable's name, others as signed integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mkold.ir.program import (
    UNKNOWN,
    And,
    Compare,
    Formula,
    Not,
    Observed,
    Or,
    Program,
    Reg,
    Words,
)

_SIGNS = {"eq": "=", "slt": "<", "sle": "<="}


class Names:
    """Names for the addresses of a program."""

    __slots__ = ("_names", "_places")

    def __init__(self, symbols: Mapping[str, int]) -> None:
        self._names: dict[int, str] = {}  # an array's start goes by the array's name
        self._places: dict[int, str] = {}  # ... and, as a place, by ``a[0]``
        for name, address in symbols.items():
            self._names.setdefault(address, name)
            self._places[address] = name

    def __contains__(self, word: int) -> bool:
        """Whether the word is an address with a name."""
        return word in self._names

    def value(self, word: int) -> str:
        """A word as herd shows it."""
        name = self._names.get(word)
        if name is not None:
            return name
        if word == UNKNOWN:
            return "S"
        return str(word - (1 << 64) if word >> 63 else word)

    def place(self, place: Observed) -> str:
        """A register or variable as herd shows it."""
        if isinstance(place, Reg):
            return f"{place.thread}:{place.local}"
        name = self._places.get(place.address, str(place.address))
        return name if name.endswith("]") else f"[{name}]"

    def state(self, program: Program, values: Sequence[int]) -> str:
        """One line of ``States``; ``values`` of what ``program`` observes."""
        if not program.shown:
            pairs = zip(program.observed, values, strict=True)
            return " ".join(f"{self.place(p)}={self.value(value)};" for p, value in pairs)
        words = dict(zip(program.observed, values, strict=True))
        return " ".join(f"{self._shown(place, words)};" for place in program.shown)

    def _shown(self, place: Observed | Words, words: Mapping[Observed, int]) -> str:
        if not isinstance(place, Words):
            return f"{self.place(place)}={self.value(words[place])}"
        values = ",".join(self.value(words[word]) for word in place.each())
        name = self._names.get(place.address, str(place.address))
        return f"{name}={{{values}}}" if place.n > 1 else f"{name}={values}"

    def sort_key(self, values: Sequence[int]) -> list[tuple[int, int, str]]:
        """Sorts states by value, integers before names."""
        return [
            (1, 0, self._names[word]) if word in self._names
            else (0, word - (1 << 64) if word >> 63 else word, "")
            for word in values
        ]  # fmt: skip

    def formula(self, formula: Formula) -> str:
        """A formula in herd's notation."""
        match formula:
            case Compare("ne", left, right):
                return f"not ({self._side(left)}={self._side(right)})"
            case Compare(op, left, right):
                return f"{self._side(left)}{_SIGNS[op]}{self._side(right)}"
            case Not(a):
                return f"not ({self.formula(a)})"
            case And(()):
                return "true"
            case Or(()):
                return "false"
            case And(parts):
                return " /\\ ".join(map(self._inner, parts))
            case Or(parts):
                return " \\/ ".join(map(self._inner, parts))

    def _inner(self, formula: Formula) -> str:
        text = self.formula(formula)
        return f"({text})" if isinstance(formula, And | Or) and len(formula.parts) > 1 else text

    def _side(self, side: Observed | int) -> str:
        return self.value(side) if isinstance(side, int) else self.place(side)
