"""Words, places and formulas in herd7's notation.

Values that are addresses print as the variable's name, others as signed integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mkold.ir.program import UNKNOWN, And, Compare, Formula, Not, Observed, Or, Reg

_SIGNS = {"eq": "=", "slt": "<", "sle": "<="}


class Names:
    """Names for the addresses of a program."""

    __slots__ = ("_names",)

    def __init__(self, symbols: Mapping[str, int]) -> None:
        self._names = {address: name for name, address in symbols.items()}

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
        name = self._names.get(place.address, str(place.address))
        return name if name.endswith("]") else f"[{name}]"

    def state(self, places: Sequence[Observed], values: Sequence[int]) -> str:
        """One line of ``States``."""
        pairs = zip(places, values, strict=True)
        return " ".join(f"{self.place(place)}={self.value(value)};" for place, value in pairs)

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
