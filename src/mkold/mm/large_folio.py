"""Large folios: ``HPAGE_PMD_NR`` frames, one behind the other and aligned, that are one.

Rules
-----
* ``head`` of each frame's ``Folio`` names the first frame of a large folio; 0: it is alone.
* The first one's flags, place on a list and ``index`` (the first host page) are the folio's;
  ``mapped`` counts entries that map a frame of it, a huge one as ``HPAGE_PMD_NR``.
* A frame that nothing maps any more stays until the last one does, or the folio is split.

Source: include/linux/mm.h (folio_nr_pages), mm/rmap.c (folio_remove_rmap_pte).
"""

from __future__ import annotations

from mkold.lang import Ptr, kernel, u64
from mkold.mm.mm_types import PTE_TABLE_SHIFT, TRANSPARENT_HUGEPAGE, Folio

HPAGE_PMD_NR = 1 << PTE_TABLE_SHIFT


@kernel
def folio_test_large(folio: Ptr[Folio]) -> bool:
    """Whether the folio has many frames."""
    return TRANSPARENT_HUGEPAGE and folio.head != 0


@kernel
def folio_nr_pages(folio: Ptr[Folio]) -> u64:
    """How many frames the folio has."""
    if folio_test_large(folio):
        return HPAGE_PMD_NR
    return 1
