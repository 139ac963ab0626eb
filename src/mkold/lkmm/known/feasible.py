"""Whether the branches of a path can go together, by what its reads may find.

Known limits: gives up, and says yes, after ``MAX_STEPS`` choices.
"""

from __future__ import annotations

from collections.abc import Sequence

from mkold.lkmm.graph.values import Constraint, Reads, reads_of
from mkold.lkmm.known.search import Domains, Part, Search, TooLongError, connected

MAX_STEPS = 2_000


class Feasibility:
    """Answers for one graph, of which ``domains`` says what each read may find."""

    def __init__(self, domains: Domains) -> None:
        self.domains = domains

    def goes(self, asked: Sequence[Constraint], new: Constraint) -> bool:
        """Whether ``new`` can hold where all of ``asked``, which can, do."""
        together = [new, *connected(_reads(new), asked, _reads)]
        try:
            return bool(Search((), self.domains, together, 1, MAX_STEPS).all(first=True))
        except TooLongError:
            return True


def _reads(part: Part) -> Reads:
    assert isinstance(part, Constraint)
    return reads_of(part.value)
