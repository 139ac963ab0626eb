"""Two marks of a folio by which those who clear accessed bits and those who ask get along.

Rules
-----
* *idle*: set by who clears the bits (DAMON), and taken away by reclaim as it finds an access.
* *young*: who clears bits that were set leaves it for reclaim, which counts it as an access.
* Both go with the frame. Without ``PAGE_IDLE_FLAG`` (``CONFIG_PAGE_IDLE_FLAG``, which DAMON
  selects) there are none.

Source: include/linux/page_idle.h.
"""

from __future__ import annotations

from mkold.lang import READ_ONCE, Ptr, kernel, parameter
from mkold.mm.mm_types import FOLIO_IDLE, FOLIO_YOUNG, Folio
from mkold.mm.tiers import set_mask_bits

PAGE_IDLE_FLAG = parameter("PAGE_IDLE_FLAG", 0)


@kernel
def folio_set_young(folio: Ptr[Folio]) -> None:
    """Leave word that accessed bits were cleared."""
    set_mask_bits(folio, 0, FOLIO_YOUNG)


@kernel
def folio_test_clear_young(folio: Ptr[Folio]) -> bool:
    """Whether somebody left word of cleared bits; not any more."""
    return (set_mask_bits(folio, FOLIO_YOUNG, 0) & FOLIO_YOUNG) != 0


@kernel
def folio_set_idle(folio: Ptr[Folio]) -> None:
    """From now on an access is news."""
    set_mask_bits(folio, 0, FOLIO_IDLE)


@kernel
def folio_test_idle(folio: Ptr[Folio]) -> bool:
    """Whether reclaim has found no access since."""
    return (READ_ONCE(folio.flags) & FOLIO_IDLE) != 0


@kernel
def folio_clear_idle(folio: Ptr[Folio]) -> None:
    """Reclaim found an access."""
    set_mask_bits(folio, FOLIO_IDLE, 0)
