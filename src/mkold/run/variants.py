"""Variants that ``mkold run`` can replay: stated changes, each a set of build parameters.

A variant changes the same source at points that the source itself names; nothing here is
a copy of any function.
"""

from __future__ import annotations

from collections.abc import Mapping

from mkold.base.errors import UsageError
from mkold.kvm.powerpc.radix.age import AS_POSTED
from mkold.kvm.powerpc.radix.tables import FREE_AT_ONCE

VARIANTS: Mapping[str, tuple[str, Mapping[str, int]]] = {
    "as_posted": ("the fast path as it was posted for review", AS_POSTED),
    "posted_steps": (
        "steps by a leaf's size from wherever the walk stands",
        {"STEP_FROM_GFN": 1},
    ),
    "free_at_once": (
        "tables are freed without a grace period (wrong)",
        {"TABLE_FREE": FREE_AT_ONCE},
    ),
    "no_retry_check": (
        "faults do not check the retry counter (wrong)",
        {"CHECK_RETRY": 0},
    ),
    "entry_at_a_time": (
        "the fast path looks at one entry at a time",
        {"SCAN_BLOCK": 1, "SCAN_WORDS": 1},
    ),
}


def variant_params(name: str) -> dict[str, int]:
    """The build parameters of variant ``name``; none for the empty name.

    Raises
    ------
    UsageError : there is no such variant; lists those there are
    """
    if not name:
        return {}
    if name not in VARIANTS:
        known = "\n".join(f"  {key:16} {text}" for key, (text, _) in VARIANTS.items())
        raise UsageError(f"there is no variant {name}; there are:\n{known}")
    return dict(VARIANTS[name][1])
