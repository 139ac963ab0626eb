"""Which stores a word came through, so that none is passed twice.

A word's *past* is a set of store sites. There may be several ways to come by a word; what
is kept are the smallest pasts. Where there are too many, their common part stands for them:
a smaller past forbids less, so nothing that can happen is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

Site = int
Past = frozenset[Site]
Pasts = tuple[Past, ...]  # none contains another

NOTHING: Pasts = (frozenset(),)
MAX_PASTS = 6
MAX_WAYS = 64


def smallest(pasts: Iterable[Past]) -> Pasts:
    """The pasts that contain no other; or, if those are many, their common part."""
    kept: list[Past] = []
    for past in sorted(set(pasts), key=len):
        if not any(other <= past for other in kept):
            kept.append(past)
    if len(kept) > MAX_PASTS:
        return (frozenset.intersection(*kept),)
    return tuple(kept)


def together(parts: Sequence[Pasts]) -> Pasts:
    """The pasts of a word computed from words with the pasts ``parts``."""
    ways = 1
    for part in parts:
        ways *= len(part)
    if ways > MAX_WAYS:
        return (frozenset().union(*(frozenset.intersection(*part) for part in parts)),)
    return smallest(frozenset().union(*way) for way in product(*parts))


def through(site: Site, pasts: Pasts) -> Pasts:
    """The pasts after a store at ``site``; empty: the word can't come that way."""
    return tuple(past | {site} for past in pasts if site not in past)
