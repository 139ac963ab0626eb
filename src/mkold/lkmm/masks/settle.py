"""What reads find in each candidate, by fixpoint.

Values that only justify themselves ("out of thin air") are ``UNKNOWN`` where reads copy one
another in a ring, as in herd, which leaves such a value unnamed; where anything is computed
from them the candidate drops out.
"""

from __future__ import annotations

from mkold.ir.program import UNKNOWN
from mkold.lkmm.graph.values import Found, Node
from mkold.lkmm.masks.candidates import Candidates, Words

# Sources whose word is computed, each with where it is the read's.
Computed = list[tuple[Node, int]]


def settle_values(made: Candidates) -> None:
    """Fill ``reads``; a candidate whose values never settle is dropped."""
    waiting: list[tuple[int, Computed]] = []
    for read, sources in made.rf.items():
        location = made.locations[made.acts[read].address]
        words: Words = {}
        computed: Computed = []
        for source, mask in sources.items():
            value = location.word(source)
            if isinstance(value, int):
                words[value] = words.get(value, 0) | mask
            else:
                computed.append((value, mask))
        made.reads[read] = words
        if computed:
            waiting.append((read, computed))
    grown = bool(waiting)
    while grown:
        grown = False
        for read, computed in waiting:
            grown |= _grown(made, read, computed)
    if waiting:
        _from_thin_air(made, dict(waiting))


def _grown(made: Candidates, read: int, computed: Computed) -> bool:
    """Whether ``read`` is now seen to find a word where it was not."""
    words, grown = made.reads[read], False
    for value, mask in computed:
        for word, where in made.words(value).items():
            here, known = where & mask, words.get(word, 0)
            if here & ~known:
                words[word] = known | here
                grown = True
    return grown


def _from_thin_air(made: Candidates, waiting: dict[int, Computed]) -> None:
    """Reads that copy one another in a ring find ``UNKNOWN``; other riddles drop out."""
    unsettled: dict[int, int] = {}
    for read in waiting:
        settled = 0
        for mask in made.reads[read].values():
            settled |= mask
        unsettled[read] = made.rows & ~settled
    unknown = dict(unsettled)
    changed = any(unknown.values())
    while changed:
        changed = False
        for read, computed in waiting.items():
            copied = 0
            for value, mask in computed:
                if type(value) is Found:
                    copied |= mask & unknown.get(value.read, 0)
            if unknown[read] & ~copied:
                unknown[read] &= copied
                changed = True
    for read, mask in unknown.items():
        if mask:
            made.reads[read][UNKNOWN] = mask
        made.rows &= ~(unsettled[read] & ~mask)
