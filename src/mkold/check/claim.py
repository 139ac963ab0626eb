"""A claim: a sentence somebody said, its source, and the cases that decide it.

No expected verdict is stored anywhere: a case says only what is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mkold.base.errors import Pos
from mkold.check import door
from mkold.check.blame import here
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
    heavy : takes seconds and decides nothing: left out where all claims are asked at once
    at : where it is written; found by itself

    Raises
    ------
    InputError : an argument of the wrong kind, at the caller's line
    """

    label: str
    scenario: Scenario
    edits: tuple[Edit, ...] = ()
    decides: bool = True
    only: frozenset[str] = frozenset()
    heavy: bool = False
    at: Pos | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        said = f"of case {door.text('the label of a case', self.label)!r}"
        door.instance(f"the scenario {said}", self.scenario, Scenario)
        door.truth(f"decides {said}", self.decides)
        if door.truth(f"heavy {said}", self.heavy) and self.decides:
            raise door.wrong(f"case {self.label!r} decides, so it can't be left out as heavy")
        object.__setattr__(self, "edits", door.several(f"edits {said}", self.edits, door.edit))
        object.__setattr__(self, "only", door.names(f"only {said}", self.only))
        object.__setattr__(self, "at", self.at or here())


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence and what decides it.

    Parameters
    ----------
    name : short and unique, for the command line
    sentence, source : what was said, and by whom and where
    cases : the questions
    asks : ``"always"`` (the claim holds if no deciding case has a counterexample) or
        ``"possible"`` (the claim says that something can happen: it holds if every deciding
        case shows it)
    arch : the architecture that it is about; empty: any

    Raises
    ------
    InputError : an argument of the wrong kind, or no case decides; at the caller's line
    """

    name: str
    sentence: str
    source: str
    cases: tuple[Case, ...]
    asks: str = "always"
    arch: str = ""

    def __post_init__(self) -> None:
        said = f"of claim {door.text('the name of a claim', self.name, empty=False)}"
        for what in ("sentence", "source", "asks", "arch"):
            door.text(f"the {what} {said}", getattr(self, what))
        if self.asks not in ("always", "possible"):
            raise door.wrong(f'asks must be "always" or "possible", not {self.asks!r}')
        cases = door.several(f"the cases {said}", self.cases, _case)
        if not any(case.decides for case in cases):
            raise door.wrong(f"claim {self.name}: no case decides it")
        object.__setattr__(self, "cases", cases)


def _case(what: str, value: object) -> Case:
    return door.instance(what, value, Case)
