"""One formula over one state, and over many at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from mkold.ir.formula import Side, fold, holds, observed_in, required
from mkold.ir.nodes import evaluate_binary
from mkold.ir.program import And, Compare, Formula, Mem, Not, Observed, Or, Reg

PLACES: list[Observed] = [Reg(0, "r1"), Reg(1, "r1"), Mem(0x1000)]
WORDS = [0, 1, (1 << 64) - 1]
STATES = [dict(zip(PLACES, words, strict=True)) for words in product(WORDS, repeat=3)]

sides = st.sampled_from([*PLACES, *WORDS])
compares = st.builds(Compare, st.sampled_from(["eq", "ne", "slt", "sle"]), sides, sides)
formulas = st.recursive(
    compares,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(lambda parts: And(tuple(parts)), st.lists(inner, max_size=3))
        | st.builds(lambda parts: Or(tuple(parts)), st.lists(inner, max_size=3))
    ),
    max_leaves=8,
)


class Masks:
    """Bit i speaks of ``STATES[i]``."""

    every = (1 << len(STATES)) - 1

    def compare(self, op: str, left: Side, right: Side) -> int:
        def word(side: Side, state: dict[Observed, int]) -> int:
            return side if isinstance(side, int) else state[side]

        return sum(
            1 << i
            for i, state in enumerate(STATES)
            if evaluate_binary(op, word(left, state), word(right, state))
        )

    def negation(self, a: int) -> int:
        return self.every & ~a

    def all_of(self, parts: Iterable[int]) -> int:
        found = self.every
        for part in parts:
            found &= part
        return found

    def any_of(self, parts: Iterable[int]) -> int:
        found = 0
        for part in parts:
            found |= part
        return found


@given(formulas)
def test_many_states_at_once_are_each_by_itself(formula: Formula) -> None:
    mask = fold(formula, Masks())
    for i, state in enumerate(STATES):
        assert bool(mask >> i & 1) is holds(formula, state.__getitem__)


@given(formulas)
def test_what_is_required_is_so_wherever_the_formula_holds(formula: Formula) -> None:
    facts: Sequence[tuple[Observed, int]] = list(required(formula))
    for state in STATES:
        if holds(formula, state.__getitem__):
            assert all(state[place] == word for place, word in facts)


@given(formulas)
def test_only_the_places_named_count(formula: Formula) -> None:
    named = set(observed_in(formula))
    for state in STATES:
        other = {place: state[place] if place in named else 7 for place in PLACES}
        assert holds(formula, state.__getitem__) is holds(formula, other.__getitem__)


def test_no_parts() -> None:
    assert holds(And(()), {}.__getitem__)
    assert not holds(Or(()), {}.__getitem__)
