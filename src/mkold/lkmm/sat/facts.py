"""What an execution is made of, as facts; what the model derives from them, as rules.

The model's relations are positive: each is built from others by union, composition and
closure, and grows as an execution has more events, sources and coherence edges. So "these
facts give this edge" is true of every execution, and can be told to the solver as a clause
once for all. Each edge of a derived relation is a fact of its own, and a rule goes one step:
an execution is forbidden by a few rules that many others share, where the whole reason, down
to sources and coherence, would be a different one for each order of the same events.

What a derived fact's literal says is "this edge is there by a rule that was told": rules
only ever make it true. An axiom is a rule without a head: not all of its body.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

INIT = -1  # in place of a write: the initial word


class Fact(NamedTuple):
    """``kind`` of the nodes ``a``, ``b``.

    Of an execution: ``happens`` and ``absent`` (a), ``stands`` (the thread of a stopped),
    ``source`` (read b finds write a), ``same`` (a and b access one word), ``co`` (write a
    precedes write b in coherence order), ``fr`` (read a finds what write b overwrites),
    ``addr`` ``data`` ``ctrl`` (b depends on read a), ``forced`` (of accesses of one expression,
    b comes after a). Any other kind is the name of a derived relation.
    """

    kind: str
    a: int
    b: int = INIT


GIVEN = frozenset(
    {
        "happens",
        "absent",
        "stands",
        "source",
        "same",
        "co",
        "fr",
        "addr",
        "data",
        "ctrl",
        "forced",
    }
)
Body = frozenset[Fact]
Rule = tuple[Fact | None, Body]


class Rules:
    """The rules told so far, each once; ``fresh`` are those not yet taken."""

    def __init__(self) -> None:
        self._known: set[Rule] = set()
        self.fresh: list[Rule] = []

    def tell(self, head: Fact | None, body: Iterable[Fact]) -> bool:
        """``head`` where all of ``body``; without a head: not all of it. Whether it is new."""
        rule = head, frozenset(body)
        if rule in self._known:
            return False
        self._known.add(rule)
        self.fresh.append(rule)
        return True

    def take(self) -> list[Rule]:
        """The rules told since this was last asked."""
        fresh, self.fresh = self.fresh, []
        return fresh

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._known)
