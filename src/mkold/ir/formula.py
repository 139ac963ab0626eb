"""What a formula says, over anything that has and, or and not.

A formula is true or false of one final state; over many candidate executions at once it is
a mask, over a table of states a column. ``fold`` is the one walk; an ``Algebra`` says what
a comparison gives and how answers go together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from mkold.ir.nodes import evaluate_binary
from mkold.ir.program import And, Compare, Formula, Not, Observed, Or

T = TypeVar("T")
Side = Observed | int


class Algebra(Protocol[T]):
    """Answers of one kind. Parts come lazily: one may stop at the first that decides."""

    def compare(self, op: str, left: Side, right: Side) -> T: ...
    def negation(self, a: T) -> T: ...
    def all_of(self, parts: Iterable[T]) -> T: ...
    def any_of(self, parts: Iterable[T]) -> T: ...


def fold(formula: Formula, algebra: Algebra[T]) -> T:
    """``formula`` over ``algebra``."""
    match formula:
        case Compare(op, left, right):
            return algebra.compare(op, left, right)
        case Not(a):
            return algebra.negation(fold(a, algebra))
        case And(parts):
            return algebra.all_of(fold(part, algebra) for part in parts)
        case Or(parts):
            return algebra.any_of(fold(part, algebra) for part in parts)


class _OneState:
    """True or false, where every place has one word."""

    def __init__(self, word: Callable[[Observed], int]) -> None:
        self._word = word

    def compare(self, op: str, left: Side, right: Side) -> bool:
        a = left if isinstance(left, int) else self._word(left)
        b = right if isinstance(right, int) else self._word(right)
        return bool(evaluate_binary(op, a, b))

    def negation(self, a: bool) -> bool:
        return not a

    all_of = staticmethod(all)
    any_of = staticmethod(any)


def holds(formula: Formula, word: Callable[[Observed], int]) -> bool:
    """Whether ``formula`` is true of the state in which each place has ``word(place)``.

    Examples
    --------
    ::

        from mkold.ir.formula import holds
        from mkold.ir.program import Compare, Mem, Not

        assert holds(Not(Compare("eq", Mem(0x1000), 1)), {Mem(0x1000): 2}.__getitem__)
    """
    return fold(formula, _OneState(word))


def observed_in(formula: Formula) -> Iterator[Observed]:
    """Every register or word that ``formula`` speaks of, with repeats."""
    match formula:
        case Compare(_, left, right):
            yield from (side for side in (left, right) if not isinstance(side, int))
        case Not(a):
            yield from observed_in(a)
        case And(parts) | Or(parts):
            for part in parts:
                yield from observed_in(part)


def required(formula: Formula) -> Iterator[tuple[Observed, int]]:
    """``place == word`` facts that the formula implies."""
    match formula:
        case And(parts):
            for part in parts:
                yield from required(part)
        case Compare("eq", left, int(right)) if not isinstance(left, int):
            yield left, right
        case Compare("eq", int(left), right) if not isinstance(right, int):
            yield right, left
        case _:
            pass
