"""A claim: a sentence somebody said, its source, and the cases that decide it.

No expected verdict is stored anywhere: a case says only what is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from mkold.check.scenario import Scenario
from mkold.ir.variant import Edit


@dataclass(frozen=True, slots=True)
class Case:
    """One question: do the properties of ``scenario`` hold with ``edits`` made?

    Parameters
    ----------
    label : what is special about the case ("without synchronize_rcu()")
    scenario : the machine, its threads and its properties
    edits : changes to the source, in order; none: the source as it ships
    decides : the claim's verdict depends on this case; otherwise it is shown beside it,
        for contrast
    only : look at these properties alone (names); empty: at all
    """

    label: str
    scenario: Scenario
    edits: tuple[Edit, ...] = ()
    decides: bool = True
    only: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence and what decides it.

    ``asks`` is ``"always"`` (the claim holds if no deciding case has a counterexample) or
    ``"possible"`` (the claim says that something can happen: it holds if every deciding
    case shows it).
    """

    name: str
    sentence: str
    source: str
    cases: tuple[Case, ...]
    asks: str = "always"

    def __post_init__(self) -> None:
        if self.asks not in ("always", "possible"):
            raise ValueError(f'asks must be "always" or "possible", not {self.asks!r}')
        if not any(case.decides for case in self.cases):
            raise ValueError(f"claim {self.name}: no case decides it")
