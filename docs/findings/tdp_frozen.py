"""What a lockless AND of an entry of a dead table leads to, with the cases that take longer.

mkold check docs/findings/tdp_frozen.py --explain
"""

from mkold.check import Case, Claim, Set
from mkold.claims.x86.tdp_frozen import (
    BY_CMPXCHG,
    DEAD_LEAF,
    DEAD_TABLE,
    DEAD_UNMAP,
    MERGED,
    UNFREEZE,
)

SOURCE = "docs/findings/tdp-frozen.md"
PLACES = (("an entry", UNFREEZE), ("a leaf", DEAD_LEAF), ("a table", DEAD_TABLE))


def _cases(label: str, edits: tuple[Set, ...]) -> tuple[Case, ...]:
    return tuple(Case(f"{what}, {label}", scenario, edits) for what, scenario in PLACES)


CLAIMS = [
    Claim(
        "as-it-is",
        "An entry of a table that is gone can be un-frozen, filled by a leaf, and by a table.",
        SOURCE,
        _cases("as it is", ()),
        asks="possible",
    ),
    Claim(
        "fixed",
        "It can't be, if a frozen entry has no accessed bit, or if aging compares.",
        SOURCE,
        (
            *_cases("FROZEN_SPTE is 0x498", (MERGED,)),
            *_cases("aged by a compare-and-swap", (BY_CMPXCHG,)),
        ),
    ),
    Claim(
        "no-frame-is-reached",
        "Once the host has unmapped the page, no guest reaches its frame, by the dead table or "
        "otherwise.",
        SOURCE,
        (Case("a guest uses it, the host takes the frame", DEAD_UNMAP),),
    ),
]
