"""herd7's wording: the question, and final states that fit in memory.

States stand in herd's order: by value, integers before names. Known difference: the
``Hash`` line is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter

from mkold.ir.formula import Side, fold
from mkold.ir.nodes import evaluate_binary
from mkold.ir.program import Observed, Program
from mkold.litmus.names import Names

_KINDS = {"exists": "Allowed", "~exists": "Forbidden", "forall": "Required"}


Test = Callable[[Sequence[int]], bool]


class _Tests:
    """Answers as tests of one state, whose values stand in the order of ``index``."""

    def __init__(self, index: Mapping[Observed, int]) -> None:
        self._index = index

    def compare(self, op: str, left: Side, right: Side) -> Test:
        if isinstance(left, int):
            if isinstance(right, int):
                always = bool(evaluate_binary(op, left, right))
                return lambda values: always
            at = self._index[right]
            return lambda values: bool(evaluate_binary(op, left, values[at]))
        i = self._index[left]
        if isinstance(right, int):
            if op == "eq":
                return lambda values: values[i] == right
            return lambda values: bool(evaluate_binary(op, values[i], right))
        j = self._index[right]
        return lambda values: bool(evaluate_binary(op, values[i], values[j]))

    def negation(self, a: Test) -> Test:
        return lambda values: not a(values)

    def all_of(self, parts: Iterable[Test]) -> Test:
        return _first(tuple(parts), decides=False)

    def any_of(self, parts: Iterable[Test]) -> Test:
        return _first(tuple(parts), decides=True)


def _first(tests: Sequence[Test], *, decides: bool) -> Test:
    """A test whether the first of ``tests`` that says ``decides`` does so, if any."""

    def found(values: Sequence[int]) -> bool:
        for test in tests:
            if test(values) is decides:
                return decides
        return not decides

    return found


def satisfies(program: Program) -> Test:
    """A test whether the values of ``program.observed`` satisfy the condition's formula."""
    condition = program.condition
    if condition is None:
        return lambda values: True
    index = {place: i for i, place in enumerate(program.observed)}
    return fold(condition.formula, _Tests(index))


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

    For states that fit in memory; see ``states`` for millions.
    """
    names = Names(program.symbols)
    if program.shown:
        return [names.state(program, values) for values in sorted(states, key=names.sort_key)]
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
