"""herd7's wording: conditions, final states, and the lines of a verdict.

Values that are addresses print as the variable's name, others as signed integers. States
stand in herd's order: by value, integers before names.

Known differences: herd counts executions in ``Witnesses`` and ``Observation``; here the
first numbers count the listed states, and without states they say only "none" (0) or "at
least one" (1). The ``Hash`` line is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

from mkold.ir.formula import holds
from mkold.ir.program import UNKNOWN, And, Compare, Formula, Not, Observed, Or, Program, Reg

_KINDS = {"exists": "Allowed", "~exists": "Forbidden", "forall": "Required"}
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


def satisfies(program: Program) -> Callable[[Sequence[int]], bool]:
    """A test whether the values of ``program.observed`` satisfy the condition's formula."""
    index = {place: i for i, place in enumerate(program.observed)}
    condition = program.condition
    if condition is None:
        return lambda values: True
    return lambda values: holds(condition.formula, lambda place: values[index[place]])


def head_line(program: Program) -> str:
    """``Test NAME Allowed``."""
    kind = _KINDS[program.condition.quantifier] if program.condition else "Required"
    return f"Test {program.name} {kind}"


def condition_line(program: Program) -> str:
    """``Condition exists (0:r1=1)``."""
    names = Names(program.symbols)
    if program.condition is None:
        return "Condition forall (true)"
    condition = program.condition
    return f"Condition {condition.quantifier} ({names.formula(condition.formula)})"


def state_texts(program: Program, states: Sequence[tuple[int, ...]]) -> list[str]:
    """The lines of ``States``, in herd's order.

    For states that fit in memory; see ``cli.litmus_states`` for millions.
    """
    names = Names(program.symbols)
    columns = [
        {value: f"{names.place(place)}={names.value(value)};" for value in values}
        for place, values in zip(program.observed, _values(program, states), strict=True)
    ]
    in_order = all(
        value < 1 << 63 and value not in names for column in columns for value in column
    )
    ordered = states if in_order else sorted(states, key=names.sort_key)
    return [
        " ".join([text[value] for text, value in zip(columns, values, strict=False)])
        for values in ordered
    ]


def _values(program: Program, states: Sequence[tuple[int, ...]]) -> list[set[int]]:
    """The distinct values of each observed place."""
    if not states:
        return [set() for _ in program.observed]
    return [set(map(itemgetter(i), states)) for i in range(len(program.observed))]


__all__ = ["Names", "condition_line", "head_line", "satisfies", "state_texts"]
