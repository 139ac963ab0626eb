"""One execution, as plain facts: what the judge looks at, whoever made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """An execution that may or may not be allowed.

    Parameters
    ----------
    happens : nodes that happen
    address : the word that each memory node, and each grace period of SRCU, is at
    source : for each read the write that it finds, ``facts.INIT`` for the initial word
    order : for each word its writes in coherence order
    depends : ``(sort, node, read)``: the dependency of that sort is there, or for the sort
        ``forced`` that node of an expression comes after that other
    stands : threads that stopped on the way, with their read-side sections open
    """

    happens: frozenset[int]
    address: Mapping[int, int]
    source: Mapping[int, int]
    order: Mapping[int, Sequence[int]]
    depends: Callable[[str, int, int], bool]
    stands: frozenset[int] = frozenset()
